import { ProtocolViolationError } from '../../shared/errors.ts'
import type { BulkConnection } from './bulk-connection.ts'
import { BULK_RANGES_OUTSTANDING_MAX, RANGE_BYTES_MAX } from './constants.ts'
import type { PendingRange, RangeAnswer } from './pending-range.ts'

/** What all fetches of one connection share: ranges asked for beyond the first of each. */
export interface AheadBudget {
  take(): boolean
  giveBack(): void
}

/**
 * Pulls one blob over a bulk connection, range by range. A fetch always may ask for one range;
 * more than that it asks for ahead of its reader while the connection's budget lasts. So no
 * number of slow readers fills the memory, and none of them keeps another from going on.
 */
export class BulkPull {
  readonly #connection: BulkConnection
  readonly #ahead: AheadBudget
  readonly #hash: string
  readonly #start: number
  /** Asked for and not read, in order. The first is the one that needs no budget. */
  readonly #ranges: PendingRange[] = []
  #sizeBytes = 0
  #first: RangeAnswer | undefined
  /** First byte not asked for yet. */
  #next: number
  #cut: Error | undefined

  constructor(
    components: { connection: BulkConnection; ahead: AheadBudget },
    init: { hash: string; start: number },
  ) {
    this.#connection = components.connection
    this.#ahead = components.ahead
    this.#hash = init.hash
    this.#start = init.start
    this.#next = init.start
  }

  /**
   * Gets the first range, and with it the size of the blob.
   * @throws BlobNotFoundError, RangeNotSatisfiableError, RemoteError, ProtocolViolationError,
   *   PeerUnreachableError, OverloadedError, or the reason of `cut`
   */
  async open(): Promise<number> {
    // Up to the next multiple of a range, so that those after it match the store's chunks.
    this.#ask(RANGE_BYTES_MAX - (this.#start % RANGE_BYTES_MAX))
    this.#first = await this.#ranges[0]?.answer
    this.#sizeBytes = this.#first?.sizeBytes ?? 0
    return this.#sizeBytes
  }

  /** All bytes from the start on, in order, a range at a time. */
  async *bytes(): AsyncGenerator<Uint8Array, void, void> {
    if (this.#start === this.#sizeBytes) this.#shift()
    while (this.#ranges.length > 0) {
      this.#askAhead()
      const answer = this.#first ?? (await this.#ranges[0]?.answer)
      this.#first = undefined
      if (this.#cut) throw this.#cut
      if (answer?.sizeBytes !== this.#sizeBytes) {
        throw new ProtocolViolationError('The peer changed its mind about the size of a blob.')
      }
      this.#shift()
      // The next is on its way while the caller works on this one.
      this.#askAhead()
      yield answer.bytes
      // Throws when there is more to come and nobody to ask.
      if (this.#ranges.length === 0 && this.#next < this.#sizeBytes) this.#askNext()
    }
    if (this.#cut) throw this.#cut
  }

  /** Ends the fetch wherever it is; a reader that waits gets the reason. */
  cut(reason: Error): void {
    this.#cut ??= reason
    this.#first = undefined
    while (this.#ranges.length > 0) {
      this.#ranges[0]?.cancel(reason)
      this.#shift()
    }
  }

  #askAhead(): void {
    while (!this.#cut && this.#next < this.#sizeBytes && this.#connection.usable) {
      if (this.#ranges.length >= BULK_RANGES_OUTSTANDING_MAX) return
      if (this.#ranges.length > 0 && !this.#ahead.take()) return
      this.#askNext()
    }
  }

  #askNext(): void {
    if (this.#cut) throw this.#cut
    this.#ask(Math.min(RANGE_BYTES_MAX, this.#sizeBytes - this.#next))
  }

  #ask(length: number): void {
    this.#ranges.push(this.#connection.ask(this.#hash, this.#next, length))
    this.#next += length
  }

  /** Takes the first range off; the one behind it no longer needs the budget. */
  #shift(): void {
    this.#ranges.shift()
    if (this.#ranges.length > 0) this.#ahead.giveBack()
  }
}
