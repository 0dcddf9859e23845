import { randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'

import { RECORD_PAYLOAD_BYTES_MAX } from './constants.ts'

/**
 * The byte format of pack segments. All numbers are little endian.
 *
 * segment header, 64 bytes, written twice (at 0 and at 64) so that one bad sector spares the salt:
 *   0 magic "bzzzpack" | 8 version u16 | 10 zero | 16 segment u64 | 24 salt 16 | 40 created ms u64
 *   48 zero | 60 crc32 of 0..60
 * record header, 64 bytes, the payload follows:
 *   0 magic "bzR1" | 4 version u8 | 5 kind u8 | 6 zero u16 | 8 sequence u64 | 16 value u64
 *   24 payload length u32 | 28 crc32 of salt, 0..28, 32..64 | 32 hash
 *
 * The salt is secret to the segment: a blob whose content looks like a record is not taken for
 * one when a scan has to find its way behind damaged bytes.
 */
export const SEGMENT_HEADER_BYTES = 128
export const RECORD_HEADER_BYTES = 64
export const SALT_BYTES = 16
export const RECORD_MAGIC = Buffer.from('bzR1', 'latin1')

const SEGMENT_MAGIC = Buffer.from('bzzzpack', 'latin1')
const SEGMENT_COPY_BYTES = 64
const VERSION = 1

/**
 * blob: the payload is the blob, `value` its size. loose: the blob is a file of its own, `value`
 * its size, the payload its chunk hashes. tombstone: records of the hash with a sequence up to
 * `value` count no more. cut: of the segment named in the first eight bytes of `hash`, only the
 * first `value` bytes count.
 */
export type RecordKind = 'blob' | 'loose' | 'tombstone' | 'cut'

const KINDS: readonly RecordKind[] = ['blob', 'loose', 'tombstone', 'cut']

export interface RecordHeader {
  kind: RecordKind
  sequence: number
  /** Its meaning depends on the kind, see RecordKind. */
  value: number
  payloadBytes: number
  hash: string
}

export interface SegmentHeader {
  segment: number
  salt: Buffer
}

export function encodeSegmentHeader(segment: number, createdMs: number): Buffer {
  const copy = Buffer.alloc(SEGMENT_COPY_BYTES)
  SEGMENT_MAGIC.copy(copy, 0)
  copy.writeUInt16LE(VERSION, 8)
  copy.writeBigUInt64LE(BigInt(segment), 16)
  randomBytes(SALT_BYTES).copy(copy, 24)
  copy.writeBigUInt64LE(BigInt(createdMs), 40)
  copy.writeUInt32LE(crc32(copy.subarray(0, 60)), 60)
  return Buffer.concat([copy, copy])
}

/** Undefined when both copies are damaged. */
export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | undefined {
  for (const at of [0, SEGMENT_COPY_BYTES]) {
    const copy = bytes.subarray(at, at + SEGMENT_COPY_BYTES)
    if (copy.byteLength < SEGMENT_COPY_BYTES) return undefined
    const whole = copy.readUInt32LE(60) === crc32(copy.subarray(0, 60))
    if (!whole || !copy.subarray(0, 8).equals(SEGMENT_MAGIC)) continue
    if (copy.readUInt16LE(8) !== VERSION) continue
    return {
      segment: Number(copy.readBigUInt64LE(16)),
      salt: Buffer.from(copy.subarray(24, 24 + SALT_BYTES)),
    }
  }
  return undefined
}

export function encodeRecordHeader(header: RecordHeader, salt: Buffer): Buffer {
  const bytes = Buffer.alloc(RECORD_HEADER_BYTES)
  RECORD_MAGIC.copy(bytes, 0)
  bytes[4] = VERSION
  bytes[5] = KINDS.indexOf(header.kind) + 1
  writeUInt53(bytes, header.sequence, 8)
  writeUInt53(bytes, header.value, 16)
  bytes.writeUInt32LE(header.payloadBytes, 24)
  bytes.write(header.hash, 32, 32, 'hex')
  bytes.writeUInt32LE(headerChecksum(bytes, salt), 28)
  return bytes
}

/** Undefined when the bytes are not a record header of this segment. */
export function decodeRecordHeader(bytes: Buffer, salt: Buffer): RecordHeader | undefined {
  if (bytes.byteLength < RECORD_HEADER_BYTES) return undefined
  if (bytes.readUInt32LE(0) !== RECORD_MAGIC.readUInt32LE(0) || bytes[4] !== VERSION)
    return undefined
  const kind = KINDS[(bytes[5] ?? 0) - 1]
  const payloadBytes = bytes.readUInt32LE(24)
  if (kind === undefined || payloadBytes > RECORD_PAYLOAD_BYTES_MAX) return undefined
  if (bytes.readUInt32LE(28) !== headerChecksum(bytes, salt)) return undefined
  return {
    kind,
    sequence: readUInt53(bytes, 8),
    value: readUInt53(bytes, 16),
    payloadBytes,
    hash: bytes.toString('hex', 32, RECORD_HEADER_BYTES),
  }
}

/** A cut names its segment in the place of the hash. */
export function cutHash(segment: number): string {
  const bytes = Buffer.alloc(32)
  writeUInt53(bytes, segment, 0)
  return bytes.toString('hex')
}

export function cutSegment(hash: string): number {
  return readUInt53(Buffer.from(hash, 'hex'), 0)
}

function headerChecksum(bytes: Buffer, salt: Buffer): number {
  return crc32(bytes.subarray(32, 64), crc32(bytes.subarray(0, 28), crc32(salt)))
}

/** Two plain halves: a BigInt a field would cost more than the rest of the header. */
function writeUInt53(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32LE(value % 2 ** 32, at)
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4)
}

function readUInt53(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32
}
