import { PeerUnreachableError, ProtocolViolationError } from '../../shared/errors.ts'
import type { RangeMessage } from './range-message.ts'

export interface PendingRangeComponents {
  allocate: (length: number) => Uint8Array
  sendCancel: () => void
}

export interface RangeAnswer {
  /** Size of the whole blob. */
  sizeBytes: number
  bytes: Uint8Array
}

/**
 * A range that a peer was asked for, from the question to the last byte. Its memory is taken when
 * the peer has said how long it is, which is never longer than what was asked for.
 */
export class PendingRange {
  readonly #asked: { start: number; length: number }
  readonly #components: PendingRangeComponents
  readonly #answer = Promise.withResolvers<RangeAnswer>()
  #buffer: Uint8Array | undefined
  #sizeBytes: number | undefined
  #length = 0
  #filled = 0
  #cancelled = false
  #silentChecks = 0

  constructor(components: PendingRangeComponents, asked: { start: number; length: number }) {
    this.#components = components
    this.#asked = asked
    // Ranges asked for ahead may fail before anybody waits for them.
    this.#answer.promise.catch(() => undefined)
  }

  /** @throws what the peer answered or the connection failed with, or the reason of `cancel` */
  get answer(): Promise<RangeAnswer> {
    return this.#answer.promise
  }

  /** Frees the memory at once; the peer stops reading. Without effect when all has arrived. */
  cancel(reason: Error): void {
    if (this.#cancelled) return
    this.#cancelled = true
    this.fail(reason)
    this.#components.sendCancel()
  }

  fail(reason: Error): void {
    this.#buffer = undefined
    this.#answer.reject(reason)
  }

  /** True when this was all. */
  onHead(head: Extract<RangeMessage, { type: 'head' }>): boolean {
    const { start, length } = this.#asked
    const { sizeBytes } = head
    const lengthExpected = Math.min(length, sizeBytes - start)
    const isSecond = this.#sizeBytes !== undefined
    if (isSecond || head.start !== start || head.length !== lengthExpected) {
      throw new ProtocolViolationError('The peer answered with another range than asked for.')
    }
    this.#silentChecks = 0
    this.#sizeBytes = sizeBytes
    this.#length = lengthExpected
    if (!this.#cancelled) this.#buffer = this.#components.allocate(lengthExpected)
    return this.#isComplete()
  }

  /** True when this was all. */
  onData(bytes: Uint8Array): boolean {
    if (this.#sizeBytes === undefined || this.#filled + bytes.length > this.#length) {
      throw new ProtocolViolationError('The peer sent more data than were asked for.')
    }
    this.#silentChecks = 0
    this.#buffer?.set(bytes, this.#filled)
    this.#filled += bytes.length
    return this.#isComplete()
  }

  onCancelled(): void {
    if (!this.#cancelled) throw new ProtocolViolationError('The peer cancelled on its own.')
  }

  /**
   * Called at regular times; gives the range up after so many without a byte in between. False
   * when it was given up before and the peer has not even confirmed that.
   */
  check(checksMax: number): boolean {
    this.#silentChecks += 1
    if (this.#silentChecks < checksMax) return true
    if (this.#cancelled) return false
    this.#silentChecks = 0
    this.cancel(new PeerUnreachableError('The peer answers others and not this request.'))
    return true
  }

  #isComplete(): boolean {
    if (this.#filled < this.#length) return false
    if (this.#buffer && this.#sizeBytes !== undefined) {
      this.#answer.resolve({ sizeBytes: this.#sizeBytes, bytes: this.#buffer })
    }
    return true
  }
}
