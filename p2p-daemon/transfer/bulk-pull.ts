import { PeerUnreachableError, ProtocolViolationError } from '../../shared/errors.ts'
import type { RemoteBlob } from './blob-transfer.ts'
import type { BufferPool } from '../store/buffer-pool.ts'
import type { BulkConnection } from './bulk-connection.ts'
import { BODY_START_TIMEOUT_MS, BULK_RANGES_OUTSTANDING_MAX, RANGE_BYTES_MAX } from './constants.ts'
import type { PendingRange, RangeAnswer } from './pending-range.ts'

/** What all fetches of one connection share: ranges asked for beyond the first of each. */
export interface AheadBudget {
  take(): boolean
  giveBack(): void
}

export interface BulkPullComponents {
  connection: BulkConnection
  ahead: AheadBudget
  buffers: BufferPool
  onBytes: (bytes: number) => void
  /** Called once, when nothing more is asked for or kept. */
  onEnd: (isComplete: boolean) => void
}

export interface BulkPullInit {
  hash: string
  start: number
  signal?: AbortSignal | undefined
}

/**
 * Pulls one blob over a bulk connection, range by range. A fetch always may ask for one range;
 * more than that it asks for ahead of its reader while the connection's budget lasts. So no
 * number of slow readers fills the memory, and none of them keeps another from going on.
 */
export class BulkPull implements RemoteBlob {
  readonly hash: string
  readonly body: AsyncIterable<Uint8Array>
  readonly release: (chunk: Uint8Array) => void
  sizeBytes = 0
  readonly #components: BulkPullComponents
  readonly #init: BulkPullInit
  readonly #onAbort: () => void
  /** Asked for and not read, in order. The first is the one that needs no budget. */
  readonly #ranges: PendingRange[] = []
  #first: RangeAnswer | undefined
  /** First byte not asked for yet. */
  #next: number
  #unread: NodeJS.Timeout | undefined
  #cut: Error | undefined
  #ended = false

  constructor(components: BulkPullComponents, init: BulkPullInit) {
    this.hash = init.hash
    this.body = this.#bytes()
    this.release = (chunk) => components.buffers.giveBack(chunk)
    this.#components = components
    this.#init = init
    this.#next = init.start
    this.#onAbort = () => this.#stop(init.signal?.reason as Error)
    init.signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /**
   * Gets the first range, and with it the size of the blob.
   * @throws BlobNotFoundError, RangeNotSatisfiableError, RemoteError, ProtocolViolationError,
   *   PeerUnreachableError, OverloadedError, or the reason of the signal
   */
  async open(): Promise<this> {
    try {
      // Up to the next multiple of a range, so that those after it match the store's chunks.
      const range = this.#ask(RANGE_BYTES_MAX - (this.#init.start % RANGE_BYTES_MAX))
      this.#first = await range.answer
    } catch (error) {
      this.#stop(error as Error)
      throw error
    }
    this.sizeBytes = this.#first.sizeBytes
    this.#unread = setTimeout(() => {
      this.#stop(new PeerUnreachableError('Nobody read the body.'))
    }, BODY_START_TIMEOUT_MS)
    this.#unread.unref()
    return this
  }

  /** All bytes from the start on, in order, a range at a time. */
  async *#bytes(): AsyncGenerator<Uint8Array, void, void> {
    clearTimeout(this.#unread)
    let isComplete = false
    try {
      while (this.#ranges.length > 0) {
        this.#askAhead()
        const answer = this.#first ?? (await this.#ranges[0]?.answer)
        this.#first = undefined
        if (this.#cut) break
        if (answer?.sizeBytes !== this.sizeBytes) {
          throw new ProtocolViolationError('The peer changed its mind about the size of a blob.')
        }
        this.#shift()
        if (answer.bytes.length === 0) break
        // The next is on its way while the caller works on this one.
        this.#askAhead()
        this.#components.onBytes(answer.bytes.length)
        yield answer.bytes
        // Throws when there is more to come and nobody to ask.
        if (this.#ranges.length === 0 && this.#next < this.sizeBytes) this.#askNext()
      }
      if (this.#cut) throw this.#cut
      isComplete = true
    } finally {
      this.#end(isComplete)
    }
  }

  /** Ends the fetch wherever it is; a reader that waits gets the reason. */
  #stop(reason: Error): void {
    this.#cut ??= reason
    this.#first = undefined
    this.#end(false)
  }

  #end(isComplete: boolean): void {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#unread)
    this.#init.signal?.removeEventListener('abort', this.#onAbort)
    if (this.#ranges.length > 0) {
      const reason = this.#cut ?? new PeerUnreachableError('The body was not read to its end.')
      while (this.#ranges.length > 0) {
        this.#ranges[0]?.cancel(reason)
        this.#shift()
      }
    }
    this.#components.onEnd(isComplete)
  }

  #askAhead(): void {
    const { connection, ahead } = this.#components
    while (!this.#cut && this.#next < this.sizeBytes && connection.usable) {
      if (this.#ranges.length >= BULK_RANGES_OUTSTANDING_MAX) return
      if (this.#ranges.length > 0 && !ahead.take()) return
      this.#askNext()
    }
  }

  #askNext(): void {
    if (this.#cut) throw this.#cut
    this.#ask(Math.min(RANGE_BYTES_MAX, this.sizeBytes - this.#next))
  }

  #ask(length: number): PendingRange {
    const range = this.#components.connection.ask(this.hash, this.#next, length)
    this.#ranges.push(range)
    this.#next += length
    return range
  }

  /** Takes the first range off; the one behind it no longer needs the budget. */
  #shift(): void {
    this.#ranges.shift()
    if (this.#ranges.length > 0) this.#components.ahead.giveBack()
  }
}
