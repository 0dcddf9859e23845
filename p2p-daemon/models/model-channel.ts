import type { Stream } from '@libp2p/interface'
import type { LengthPrefixedStream } from '@libp2p/utils'

import { PeerUnreachableError, ProtocolViolationError, RemoteError } from '../../shared/errors.ts'
import { STATUS_BY_CODE, toWireError } from '../../shared/http/wire-error.ts'
import { framed, isEndOfStream, isViolation } from '../mesh/framing.ts'
import { HEAD_BYTES_MAX, PIECE_BYTES_MAX, WINDOW_BYTES } from './constants.ts'

/** The first byte of a frame says what it is. */
const HEAD = 0
const DATA = 1
const END = 2
const ERROR = 3
/** Four bytes, big-endian: so much was read, and so much more may come. */
const CREDIT = 4

const FRAME_BYTES_MAX = Math.max(HEAD_BYTES_MAX, PIECE_BYTES_MAX) + 1

/** All that may wait unread: the window, a frame of each kind, and their lengths. */
const UNREAD_BYTES_MAX = 2 * WINDOW_BYTES

/**
 * One head and one body in each direction of a stream. Nothing is sent that the other side has no
 * room for: what it read it says, and a side that does not read makes the other one wait.
 */
export class ModelChannel {
  readonly #stream: Stream
  readonly #frames: LengthPrefixedStream<Stream>
  readonly #inbox: Uint8Array[] = []
  #inboxBytes = 0
  #head: Uint8Array | null = null
  #isEnded = false
  #failure: Error | null = null
  #violation: unknown = null
  readonly #reading: Promise<void>
  #roomBytes = WINDOW_BYTES
  #wake: (() => void)[] = []

  constructor(stream: Stream) {
    this.#stream = stream
    this.#frames = framed(stream, {
      frameBytesMax: FRAME_BYTES_MAX,
      bufferBytesMax: UNREAD_BYTES_MAX,
    })
    // Behind what came before the end and has not been read yet.
    const onClose = (): void => void setImmediate(() => this.#fail(closed()))
    stream.addEventListener('close', onClose, { once: true })
    this.#reading = this.#readAll()
  }

  onClose(listener: () => void): void {
    this.#stream.addEventListener('close', listener, { once: true })
  }

  /** What the peer did wrong, if anything, up to the end of its stream: await that first. */
  async violation(): Promise<unknown> {
    await this.#reading
    return this.#violation
  }

  async sendHead(head: object, signal: AbortSignal): Promise<void> {
    const bytes = Buffer.from(JSON.stringify(head))
    if (bytes.length > HEAD_BYTES_MAX) throw new ProtocolViolationError('The head is too long.')
    await this.#write(HEAD, bytes, signal)
  }

  /** Resolves when the other side has room for more. */
  async send(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES_MAX) {
      const piece = bytes.subarray(at, at + PIECE_BYTES_MAX)
      while (this.#roomBytes < piece.length) {
        if (this.#failure) throw this.#failure
        await this.#change(signal)
      }
      this.#roomBytes -= piece.length
      await this.#write(DATA, piece, signal)
    }
  }

  async end(signal: AbortSignal): Promise<void> {
    await this.#write(END, NOTHING, signal)
  }

  /** Tells the other side what went wrong, as a caller over HTTP would be told. */
  async sendError(error: unknown, signal: AbortSignal): Promise<void> {
    const { code, message } = toWireError(error, '').body.error
    await this.#write(ERROR, Buffer.from(JSON.stringify({ code, message })), signal)
  }

  /** @throws RemoteError, PeerUnreachableError, ProtocolViolationError */
  async readHead(signal: AbortSignal): Promise<unknown> {
    while (!this.#head) {
      if (this.#failure) throw this.#failure
      await this.#change(signal)
    }
    return parse(this.#head)
  }

  /** What was said behind the head. It throws where there is no end. */
  async *body(signal: AbortSignal): AsyncGenerator<Uint8Array> {
    for (;;) {
      const piece = this.#inbox.shift()
      if (piece) {
        yield piece
        this.#inboxBytes -= piece.length
        const credit = Buffer.alloc(4)
        credit.writeUInt32BE(piece.length)
        if (!this.#failure && !this.#isEnded) await this.#write(CREDIT, credit, signal)
        continue
      }
      if (this.#isEnded) return
      if (this.#failure) throw this.#failure
      await this.#change(signal)
    }
  }

  close(): void {
    this.#stream.close().catch((error: Error) => this.#stream.abort(error))
  }

  abort(reason: Error): void {
    this.#stream.abort(reason)
    this.#fail(reason)
  }

  async #write(kind: number, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    if (this.#failure) throw this.#failure
    await this.#frames.write(Buffer.concat([Uint8Array.of(kind), bytes]), { signal })
  }

  async #readAll(): Promise<void> {
    try {
      for (;;) this.#take((await this.#frames.read()).subarray())
    } catch (error) {
      if (isViolation(error)) this.#violation = error
      const known = isViolation(error) || error instanceof RemoteError
      // First the reason, then the end that follows from it.
      this.#fail(known ? (error as Error) : closed(error))
      const isEnd = isEndOfStream(error)
      if (!isEnd && this.#stream.status === 'open') this.#stream.abort(error as Error)
    }
  }

  #take(frame: Uint8Array): void {
    const bytes = frame.subarray(1)
    switch (frame[0]) {
      case HEAD:
        if (this.#head || bytes.length > HEAD_BYTES_MAX) throw violation('head')
        this.#head = bytes
        break
      case DATA:
        if (this.#isEnded || this.#inboxBytes + bytes.length > WINDOW_BYTES) throw violation('data')
        this.#inbox.push(bytes)
        this.#inboxBytes += bytes.length
        break
      case END:
        this.#isEnded = true
        break
      case ERROR:
        throw remoteError(bytes)
      case CREDIT:
        if (bytes.length !== 4) throw violation('credit')
        this.#roomBytes += Buffer.from(bytes).readUInt32BE()
        if (this.#roomBytes > WINDOW_BYTES) throw violation('credit')
        break
      case undefined:
      default:
        throw violation('frame')
    }
    this.#changed()
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#changed()
  }

  #changed(): void {
    const waiting = this.#wake
    this.#wake = []
    for (const wake of waiting) wake()
  }

  async #change(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const onAbort = (): void => reject(signal.reason as Error)
    this.#wake.push(resolve)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }
}

const NOTHING = new Uint8Array()

function closed(cause?: unknown): Error {
  return new PeerUnreachableError('The peer ended the call.', { cause })
}

function violation(what: string): Error {
  return new ProtocolViolationError(`The peer sent a ${what} out of turn.`)
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString())
  } catch (error) {
    throw new ProtocolViolationError('The peer sent a head that cannot be read.', { cause: error })
  }
}

function remoteError(bytes: Uint8Array): Error {
  const { code, message } = parse(bytes) as { code?: unknown; message?: unknown }
  if (typeof code !== 'string' || typeof message !== 'string') return violation('error')
  return new RemoteError(code.slice(0, 64), STATUS_BY_CODE[code] ?? 500, message.slice(0, 1024), {})
}
