import { PeerUnreachableError, ProtocolViolationError } from '../../shared/errors.ts'
import { isFrameError } from '../mesh/framing.ts'
import { RANGE_BYTES_MAX, RANGES_OUTSTANDING_MAX, STALL_TIMEOUT_MS } from './constants.ts'
import { fromErrorMessage } from './range-error.ts'
import { decodeMessage, encodeMessage, type RangeMessage } from './range-message.ts'
import type { PooledStream } from './stream-pool.ts'

type Head = Extract<RangeMessage, { type: 'head' }>

export interface RangeReaderInit {
  hash: string
  start: number
  signal?: AbortSignal | undefined
  stallTimeoutMs?: number
}

/**
 * Pulls one blob from one peer, range by range. No range is asked for before all but three of
 * those outstanding were read, so however slowly the caller reads, no more than four are on their
 * way or in memory, on either side.
 */
export class RangeReader {
  readonly #pooled: PooledStream
  readonly #init: RangeReaderInit
  #sizeBytes = 0
  /** First byte not asked for yet. */
  #next: number
  /** Lengths of the ranges asked for and not wholly read. */
  #outstanding: number[] = []

  constructor(pooled: PooledStream, init: RangeReaderInit) {
    this.#pooled = pooled
    this.#init = init
    this.#next = init.start
  }

  /**
   * Asks for the first range and waits for its head.
   * @throws BlobNotFoundError, RangeNotSatisfiableError, RemoteError, ProtocolViolationError,
   *   PeerUnreachableError
   */
  async open(): Promise<number> {
    // Up to the next multiple of a range, so that those after it match the store's chunks.
    const length = RANGE_BYTES_MAX - (this.#init.start % RANGE_BYTES_MAX)
    await this.#ask(this.#init.start, length)
    const head = await this.#receive()
    if (head.type !== 'head') throw unexpected(head)
    this.#sizeBytes = head.sizeBytes
    this.#next = head.start + head.length
    this.#outstanding = [head.length]
    this.#checkHead(head, this.#init.start, Math.min(length, head.sizeBytes - head.start))
    return head.sizeBytes
  }

  /** The rest, in order. Whoever stops early must discard the stream. */
  async *bytes(): AsyncGenerator<Uint8Array, void, void> {
    let position = this.#init.start
    let isFirst = true
    while (position < this.#sizeBytes) {
      await this.#askAhead()
      const length = this.#outstanding[0] ?? 0
      if (!isFirst) this.#checkHead(await this.#receive(), position, length)
      isFirst = false
      for (let left = length; left > 0;) {
        const message = await this.#receive()
        if (message.type !== 'data' || message.bytes.length > left) throw unexpected(message)
        left -= message.bytes.length
        position += message.bytes.length
        yield message.bytes
      }
      this.#outstanding.shift()
    }
  }

  async #askAhead(): Promise<void> {
    while (this.#outstanding.length < RANGES_OUTSTANDING_MAX && this.#next < this.#sizeBytes) {
      const length = Math.min(RANGE_BYTES_MAX, this.#sizeBytes - this.#next)
      await this.#ask(this.#next, length)
      this.#outstanding.push(length)
      this.#next += length
    }
  }

  #checkHead(message: RangeMessage, start: number, length: number): asserts message is Head {
    if (message.type !== 'head') throw unexpected(message)
    const { sizeBytes } = message
    if (message.start === start && message.length === length && sizeBytes === this.#sizeBytes)
      return
    throw new ProtocolViolationError('The peer answered with another range than asked for.')
  }

  async #ask(start: number, length: number): Promise<void> {
    const message = encodeMessage({ type: 'range', hash: this.#init.hash, start, length })
    await this.#patiently((signal) => this.#pooled.frames.write(message, { signal }))
  }

  async #receive(): Promise<RangeMessage> {
    const frame = await this.#patiently((signal) => this.#pooled.frames.read({ signal }))
    const message = decodeMessage(frame.subarray())
    if (message.type === 'error') throw fromErrorMessage(message)
    return message
  }

  /** Runs one step of the conversation, which must be over before the peer counts as stalled. */
  async #patiently<T>(step: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { signal, stallTimeoutMs = STALL_TIMEOUT_MS } = this.#init
    signal?.throwIfAborted()
    const timeout = AbortSignal.timeout(stallTimeoutMs)
    try {
      return await step(signal ? AbortSignal.any([signal, timeout]) : timeout)
    } catch (error) {
      signal?.throwIfAborted()
      if (isFrameError(error)) {
        throw new ProtocolViolationError('The peer sent something that is no answer.', {
          cause: error,
        })
      }
      const message = timeout.aborted ? 'The peer stopped sending.' : 'The peer went away.'
      throw new PeerUnreachableError(message, { cause: error })
    }
  }
}

function unexpected(message: RangeMessage): ProtocolViolationError {
  return new ProtocolViolationError(`The peer sent ${message.type} where it does not belong.`)
}
