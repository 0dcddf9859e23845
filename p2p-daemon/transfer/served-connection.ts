import type { TLSSocket } from 'node:tls'

import { PeerUnreachableError, ProtocolViolationError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { BlobStore } from '../store/blob-store.ts'
import {
  encodeDataHeader,
  encodeFrame,
  FrameDecoder,
  type BulkMessage,
  type FrameHandler,
} from './bulk-frame.ts'
import {
  BULK_RANGES_PER_CONNECTION_MAX,
  BULK_RANGES_SERVED_MAX,
  BULK_SEND_BUFFER_BYTES_MAX,
  BULK_UNSENT_BYTES_MAX,
  COALESCED_BYTES_MAX,
  RANGE_BYTES_MAX,
  SERVE_IDLE_TIMEOUT_MS,
} from './constants.ts'
import { writeNow, writeSoon } from './coalesced-write.ts'
import { toErrorMessage } from './range-error.ts'
import { readRange, type Range } from './range-source.ts'

export interface ServedConnectionComponents {
  log: Logger
  /** Its peer has been identified and is allowed; nothing was read from it. */
  socket: TLSSocket
  store: Pick<BlobStore, 'get'>
  onSent: (bytes: number) => void
}

interface ServedConnectionInit {
  peerId: string
  /** How long the peer may take to make room for what is being sent. */
  stallTimeoutMs: number
}

const NOTHING = Buffer.alloc(0)

/**
 * The sending side of a bulk connection: answers the ranges a peer asks for, a few at a time, until
 * the peer leaves. At most a chunk for each of those few is in memory, and what the socket was
 * given already: the store is read when the peer has made room. A peer that breaks the rules or
 * stops reading is cut.
 */
export class ServedConnection implements FrameHandler {
  readonly peerId: string
  readonly #log: Logger
  readonly #socket: TLSSocket
  readonly #store: Pick<BlobStore, 'get'>
  readonly #onSent: (bytes: number) => void
  readonly #stallTimeoutMs: number
  readonly #waiting = new Map<number, Range>()
  /** Whether the peer has cancelled it, by request id. */
  readonly #serving = new Map<number, { cancelled: boolean }>()
  readonly #gone = new AbortController()
  #taken: PromiseWithResolvers<void> | undefined
  #takenTimer: NodeJS.Timeout | undefined
  #idle: (() => void) | undefined

  constructor(components: ServedConnectionComponents, init: ServedConnectionInit) {
    const { socket } = components
    this.peerId = init.peerId
    this.#log = components.log
    this.#socket = socket
    this.#store = components.store
    this.#onSent = components.onSent
    this.#stallTimeoutMs = init.stallTimeoutMs
    const decoder = new FrameDecoder(this)
    socket.on('data', (bytes: Uint8Array) => {
      try {
        decoder.push(bytes)
      } catch (error) {
        this.close(error as Error)
      }
    })
    socket.on('drain', () => this.#onRoom())
    socket.on('error', (error) => this.close(error))
    socket.on('close', () => this.close(new PeerUnreachableError('The peer went away.')))
    // A peer that lives sends at least its keep-alive.
    socket.setTimeout(SERVE_IDLE_TIMEOUT_MS, () =>
      this.close(new PeerUnreachableError('The peer fell silent.')),
    )
  }

  /** Lets the ranges asked for end, for as long as `signal` allows, and takes leave. */
  async drain(signal: AbortSignal): Promise<void> {
    if (this.#gone.signal.aborted) return
    this.#socket.write(encodeFrame(0, { type: 'goodbye' }))
    if (this.#serving.size > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
    }
    if (!signal.aborted && !this.#gone.signal.aborted) {
      // Closed at once, what the peer has sent and nobody read would reset what is on its way.
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve(), { once: true })
        this.#socket.once('close', resolve)
        this.#socket.end()
      })
    }
    this.close(new PeerUnreachableError('This node is stopping.'))
  }

  close(reason: Error): void {
    if (this.#gone.signal.aborted) return
    this.#gone.abort(reason)
    if (reason instanceof ProtocolViolationError) {
      this.#log.warn({ err: reason, peerId: this.peerId }, 'peer broke the bulk protocol, cut')
    }
    this.#waiting.clear()
    this.#taken?.reject(reason)
    clearTimeout(this.#takenTimer)
    this.#idle?.()
    this.#socket.destroy()
  }

  onMessage(id: number, message: BulkMessage): void {
    if (this.#gone.signal.aborted) return
    if (message.type === 'range') this.#onRange(id, message)
    else if (message.type === 'cancel') this.#onCancel(id)
    else if (message.type === 'ping') this.#answer(id, { type: 'pong' })
    else throw new ProtocolViolationError(`The peer sent ${message.type} and serves nothing.`)
  }

  onData(): void {
    throw new ProtocolViolationError('The peer sent data that nobody asked for.')
  }

  #onRange(id: number, range: Range): void {
    if (this.#waiting.has(id) || this.#serving.has(id)) {
      throw new ProtocolViolationError('The peer used a request id twice.')
    }
    if (this.#waiting.size + this.#serving.size >= BULK_RANGES_PER_CONNECTION_MAX) {
      throw new ProtocolViolationError('The peer asked for too many ranges at once.')
    }
    this.#waiting.set(id, range)
    this.#serveNext()
  }

  /** A range that has just ended is unknown here, and the peer will see that it was complete. */
  #onCancel(id: number): void {
    const serving = this.#serving.get(id)
    if (serving) serving.cancelled = true
    if (this.#waiting.delete(id)) this.#answer(id, { type: 'cancelled' })
  }

  /** At once, and so bounded in another way than data: whoever asks must also read. */
  #answer(id: number, message: BulkMessage): void {
    if (this.#socket.writableLength > BULK_UNSENT_BYTES_MAX) {
      throw new ProtocolViolationError('The peer asks and does not read the answers.')
    }
    this.#socket.write(encodeFrame(id, message))
  }

  #serveNext(): void {
    for (const [id, range] of this.#waiting) {
      if (this.#serving.size >= BULK_RANGES_SERVED_MAX) return
      this.#waiting.delete(id)
      const state = { cancelled: false }
      this.#serving.set(id, state)
      this.#serve(id, range, state)
        .catch((error: Error) => this.close(error))
        .finally(() => {
          this.#serving.delete(id)
          this.#serveNext()
          if (this.#serving.size === 0) this.#idle?.()
        })
    }
  }

  async #serve(id: number, range: Range, state: { cancelled: boolean }): Promise<void> {
    let end: BulkMessage | undefined
    try {
      if (await this.#sendRange(id, range, state)) return
      end = { type: 'cancelled' }
    } catch (error) {
      if (this.#gone.signal.aborted) return
      end = toErrorMessage(error)
    }
    while (this.#isFull()) await this.#room()
    this.#socket.write(encodeFrame(id, end))
  }

  /** False when it was cancelled on the way. What is left of a chunk then is not sent. */
  async #sendRange(id: number, range: Range, state: { cancelled: boolean }): Promise<boolean> {
    const init = { dataBytesMax: RANGE_BYTES_MAX, signal: this.#gone.signal }
    // The head goes out with the first data: two small writes cost as much as one large.
    let head: Buffer = NOTHING
    for await (const message of readRange(range, this.#store, init)) {
      while (this.#isFull()) await this.#room()
      if (state.cancelled) return false
      if (message.type === 'head') {
        head = encodeFrame(id, message)
        if (message.length === 0) this.#socket.write(head)
        continue
      }
      const { bytes } = message
      const header = Buffer.concat([head, encodeDataHeader(id, bytes.length)])
      const write = bytes.length > COALESCED_BYTES_MAX ? writeNow : writeSoon
      write(this.#socket, header, bytes)
      this.#onSent(bytes.length)
      head = NOTHING
    }
    return true
  }

  #isFull(): boolean {
    return this.#socket.writableLength >= BULK_SEND_BUFFER_BYTES_MAX
  }

  /** Resolves when the peer has taken what was written. Others may have written again by then. */
  #room(): Promise<void> {
    this.#gone.signal.throwIfAborted()
    this.#taken ??= Promise.withResolvers()
    this.#takenTimer ??= setTimeout(
      () => this.close(new PeerUnreachableError('The peer stopped reading.')),
      this.#stallTimeoutMs,
    )
    return this.#taken.promise
  }

  #onRoom(): void {
    clearTimeout(this.#takenTimer)
    this.#takenTimer = undefined
    this.#taken?.resolve()
    this.#taken = undefined
  }
}
