import { ProtocolViolationError } from '../../shared/errors.ts'
import { KiB } from '../../shared/limits.ts'
import { RANGE_BYTES_MAX } from './constants.ts'
import { decodeMessage, encodeMessage, type RangeMessage } from './range-message.ts'

/**
 * What travels on a bulk connection, in frames: a request id and a length of four bytes each,
 * big-endian, then a message of that length whose first byte is its type.
 *
 * The receiver sends `range` under an id that is not in use, any number before the first answer.
 * The sender answers with `head` and `data` of exactly the head's length, or with `error` in
 * place of the head or of any data, which ends the range. Frames of different ids may alternate.
 * After `cancel` the sender ends a range early with `cancelled`, unless it ended just before.
 * `ping` is answered by `pong` under the same id. `goodbye` says that the sender is about to
 * stop: what was asked for is still answered, new ranges belong on another connection.
 */
export type BulkMessage =
  | Exclude<RangeMessage, { type: 'data' }>
  | { type: 'cancel' | 'cancelled' | 'ping' | 'pong' | 'goodbye' }

/** The types of RangeMessage end far below. */
const CODE_BY_TYPE = { cancel: 16, cancelled: 17, ping: 18, pong: 19, goodbye: 20 } as const
const TYPE_BY_CODE = new Map<number, keyof typeof CODE_BY_TYPE>(
  Object.entries(CODE_BY_TYPE).map(([type, code]) => [code, type as keyof typeof CODE_BY_TYPE]),
)
const DATA_CODE = 3

const HEADER_BYTES = 4 + 4
const HEADER_AND_TYPE_BYTES = HEADER_BYTES + 1

/** Messages without data; the longest is an error. */
const MESSAGE_BYTES_MAX = 4 * KiB

export const REQUEST_ID_MAX = 0xffff_ffff

export function encodeFrame(id: number, message: BulkMessage): Buffer {
  const bytes =
    message.type in CODE_BY_TYPE
      ? Uint8Array.of(CODE_BY_TYPE[message.type as keyof typeof CODE_BY_TYPE])
      : encodeMessage(message as RangeMessage)
  const frame = Buffer.allocUnsafe(HEADER_BYTES + bytes.length)
  frame.writeUInt32BE(id, 0)
  frame.writeUInt32BE(bytes.length, 4)
  frame.set(bytes, HEADER_BYTES)
  return frame
}

/** What goes before the bytes of a `data` frame, which need not be copied for it. */
export function encodeDataHeader(id: number, lengthBytes: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_AND_TYPE_BYTES)
  header.writeUInt32BE(id, 0)
  header.writeUInt32BE(1 + lengthBytes, 4)
  header.writeUInt8(DATA_CODE, HEADER_BYTES)
  return header
}

export interface FrameHandler {
  onMessage(id: number, message: BulkMessage): void
  /** A piece of a `data` frame, as it arrived. Only good until the call returns. */
  onData(id: number, bytes: Uint8Array): void
}

/**
 * Takes a connection's bytes in pieces of any size. Holds at most one message without data;
 * data go through as they come.
 */
export class FrameDecoder {
  readonly #handler: FrameHandler
  readonly #message = Buffer.allocUnsafe(HEADER_BYTES + MESSAGE_BYTES_MAX)
  #filled = 0
  #needed = HEADER_AND_TYPE_BYTES
  #dataId = 0
  #dataLeft = 0

  constructor(handler: FrameHandler) {
    this.#handler = handler
  }

  /** @throws ProtocolViolationError, or what the handler throws; the connection is over then */
  push(bytes: Uint8Array): void {
    for (let offset = 0; offset < bytes.length;) {
      offset +=
        this.#dataLeft > 0 ? this.#pushData(bytes, offset) : this.#pushMessage(bytes, offset)
    }
  }

  #pushData(bytes: Uint8Array, offset: number): number {
    const taken = Math.min(this.#dataLeft, bytes.length - offset)
    this.#dataLeft -= taken
    this.#handler.onData(this.#dataId, bytes.subarray(offset, offset + taken))
    return taken
  }

  #pushMessage(bytes: Uint8Array, offset: number): number {
    const taken = Math.min(this.#needed - this.#filled, bytes.length - offset)
    this.#message.set(bytes.subarray(offset, offset + taken), this.#filled)
    this.#filled += taken
    if (this.#filled === this.#needed) this.#onFilled()
    return taken
  }

  #onFilled(): void {
    const id = this.#message.readUInt32BE(0)
    const length = this.#message.readUInt32BE(4)
    const code = this.#message.readUInt8(HEADER_BYTES)
    if (this.#needed === HEADER_AND_TYPE_BYTES && length !== 1) {
      assertLength(code, length)
      if (code !== DATA_CODE) {
        this.#needed = HEADER_BYTES + length
        return
      }
      this.#dataId = id
      this.#dataLeft = length - 1
      this.#filled = 0
      return
    }
    this.#filled = 0
    this.#needed = HEADER_AND_TYPE_BYTES
    this.#handler.onMessage(
      id,
      decodeBody(this.#message.subarray(HEADER_BYTES, HEADER_BYTES + length)),
    )
  }
}

function assertLength(code: number, length: number): void {
  const longest = code === DATA_CODE ? 1 + RANGE_BYTES_MAX : MESSAGE_BYTES_MAX
  if (length > longest || length < 1) {
    throw new ProtocolViolationError('The frame has an impossible length.')
  }
}

function decodeBody(bytes: Buffer): BulkMessage {
  const type = TYPE_BY_CODE.get(bytes[0] ?? 0)
  if (type !== undefined && bytes.length === 1) return { type }
  const message = decodeMessage(bytes)
  if (message.type === 'data') throw new ProtocolViolationError('There are no data in the frame.')
  return message
}
