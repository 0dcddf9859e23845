import { z } from 'zod'

import { isHash } from '../../shared/blob/hash.ts'
import { ProtocolViolationError } from '../../shared/errors.ts'
import { DATA_BYTES_MAX, RANGE_BYTES_MAX } from './constants.ts'

/**
 * What travels in the frames of BLOB_PROTOCOL. The first byte says what it is; numbers are
 * big-endian. The receiver sends `range` messages, up to four before the first is answered. The
 * sender answers in order: a `head`, then `data` until the head's length is reached, or an
 * `error` in place of the head or of any data, which ends the range.
 */
export type RangeMessage =
  | { type: 'range'; hash: string; start: number; length: number }
  | { type: 'head'; sizeBytes: number; start: number; length: number }
  | { type: 'data'; bytes: Uint8Array }
  | { type: 'error'; code: string; message: string; sizeBytes?: number | undefined }

const RANGE = 1
const HEAD = 2
const DATA = 3
const ERROR = 4

const HASH_BYTES = 32
const RANGE_MESSAGE_BYTES = 1 + HASH_BYTES + 8 + 4
const HEAD_MESSAGE_BYTES = 1 + 8 + 8 + 4
const ERROR_BYTES_MAX = 4096

/** The longest message each side may receive. */
export const REQUEST_MESSAGE_BYTES_MAX = RANGE_MESSAGE_BYTES
export const ANSWER_MESSAGE_BYTES_MAX = 1 + DATA_BYTES_MAX

const errorSchema = z.object({
  code: z.string().max(64),
  message: z.string().max(1024),
  sizeBytes: z.int().min(0).optional(),
})

export function encodeMessage(message: RangeMessage): Uint8Array {
  switch (message.type) {
    case 'range': {
      const bytes = Buffer.allocUnsafe(RANGE_MESSAGE_BYTES)
      bytes.writeUInt8(RANGE, 0)
      bytes.write(message.hash, 1, 'hex')
      bytes.writeBigUInt64BE(BigInt(message.start), 1 + HASH_BYTES)
      bytes.writeUInt32BE(message.length, 1 + HASH_BYTES + 8)
      return bytes
    }
    case 'head': {
      const bytes = Buffer.allocUnsafe(HEAD_MESSAGE_BYTES)
      bytes.writeUInt8(HEAD, 0)
      bytes.writeBigUInt64BE(BigInt(message.sizeBytes), 1)
      bytes.writeBigUInt64BE(BigInt(message.start), 9)
      bytes.writeUInt32BE(message.length, 17)
      return bytes
    }
    case 'data':
      return Buffer.concat([Uint8Array.of(DATA), message.bytes])
    case 'error': {
      const { code, message: text, sizeBytes } = message
      const json = JSON.stringify({ code, message: text.slice(0, 1024), sizeBytes })
      return Buffer.concat([Uint8Array.of(ERROR), Buffer.from(json)])
    }
  }
}

/** @throws ProtocolViolationError, and nothing else, whatever the bytes */
export function decodeMessage(bytes: Uint8Array): RangeMessage {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (view.at(0) ?? 0) {
    case RANGE:
      return decodeRange(view)
    case HEAD:
      return decodeHead(view)
    case DATA:
      return decodeData(view)
    case ERROR:
      return decodeError(view)
    default:
      throw new ProtocolViolationError('The message is of an unknown type.')
  }
}

function decodeRange(view: Buffer): RangeMessage {
  if (view.length !== RANGE_MESSAGE_BYTES) {
    throw new ProtocolViolationError('The request has the wrong length.')
  }
  const hash = view.toString('hex', 1, 1 + HASH_BYTES)
  const start = readSize(view, 1 + HASH_BYTES)
  const length = view.readUInt32BE(1 + HASH_BYTES + 8)
  if (!isHash(hash) || length < 1 || length > RANGE_BYTES_MAX) {
    throw new ProtocolViolationError('The request asks for an impossible range.')
  }
  return { type: 'range', hash, start, length }
}

function decodeHead(view: Buffer): RangeMessage {
  if (view.length !== HEAD_MESSAGE_BYTES) {
    throw new ProtocolViolationError('The head of an answer has the wrong length.')
  }
  const [sizeBytes, start] = [readSize(view, 1), readSize(view, 9)]
  const length = view.readUInt32BE(17)
  if (start + length > sizeBytes || length > RANGE_BYTES_MAX) {
    throw new ProtocolViolationError('The head of an answer names an impossible range.')
  }
  return { type: 'head', sizeBytes, start, length }
}

function decodeData(view: Buffer): RangeMessage {
  if (view.length < 2 || view.length > 1 + DATA_BYTES_MAX) {
    throw new ProtocolViolationError('The data have an impossible length.')
  }
  return { type: 'data', bytes: view.subarray(1) }
}

function decodeError(view: Buffer): RangeMessage {
  try {
    if (view.length > ERROR_BYTES_MAX) throw new RangeError('too long')
    return { type: 'error', ...errorSchema.parse(JSON.parse(view.toString('utf8', 1))) }
  } catch (error) {
    throw new ProtocolViolationError('The error of a peer cannot be read.', { cause: error })
  }
}

function readSize(view: Buffer, offset: number): number {
  const value = view.readBigUInt64BE(offset)
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new ProtocolViolationError('The message names an impossible size.')
  }
  return Number(value)
}
