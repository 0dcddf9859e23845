import { hashBytes } from '../../shared/blob/hash.ts'
import { MiB } from '../../shared/limits.ts'
import { RECORD_PAYLOAD_BYTES_MAX } from './constants.ts'
import type { DiskFile } from './disk-files.ts'
import type { PackRecord } from './segment-writer.ts'
import { decodeRecordHeader, RECORD_HEADER_BYTES, RECORD_MAGIC } from './pack-record.ts'

const NOTHING = Buffer.alloc(0)

/** Zeros are looked for from the end in pieces of this size. */
const TRAILING_WINDOW_BYTES = 1 * MiB

export interface ScanInit {
  segment: number
  salt: Buffer
  from: number
  to: number
  /** Payloads of blobs from here on are checked against their hash, those before are not. */
  verifyFrom: number
  /** Read every payload and hand it over; otherwise only what must be checked is read. */
  withPayloads?: boolean
  signal?: AbortSignal | undefined
}

export interface ScanResult {
  /** End of the last good record. */
  validBytes: number
  /** Bytes before `validBytes` that are no record. */
  skippedBytes: number
  /** Blobs with a good header and bad content, before `validBytes`. */
  corrupt: string[]
}

/**
 * Reads the records of a segment in order. Where the bytes are no record it looks for the next
 * one, so that one bad sector costs what it covers and not everything behind it.
 */
export async function scanSegment(
  file: DiskFile,
  init: ScanInit,
  /** The payload is a view that the next record overwrites; empty unless asked for. */
  onRecord: (record: PackRecord, payload: Buffer) => Promise<void> | undefined,
): Promise<ScanResult> {
  const window = new ScanWindow(file, init.to)
  const corrupt: { hash: string; offset: number }[] = []
  let validBytes = init.from
  let skippedBytes = 0
  let offset = init.from
  while (offset + RECORD_HEADER_BYTES <= init.to) {
    const cached = window.cached(offset, RECORD_HEADER_BYTES)
    const bytes = cached ?? (await window.read(offset, RECORD_HEADER_BYTES, init.signal))
    const header = decodeRecordHeader(bytes, init.salt)
    const end = offset + RECORD_HEADER_BYTES + (header?.payloadBytes ?? 0)
    if (header === undefined || end > init.to) {
      offset = await window.find(RECORD_MAGIC, offset + 1, init.signal)
      continue
    }
    const check = header.kind === 'blob' && offset >= init.verifyFrom
    let payload: Buffer = NOTHING
    if (check || init.withPayloads === true) {
      const payloadAt = offset + RECORD_HEADER_BYTES
      payload =
        window.cached(payloadAt, header.payloadBytes) ??
        (await window.read(payloadAt, header.payloadBytes, init.signal))
    }
    if (check && hashBytes(payload) !== header.hash) {
      corrupt.push({ hash: header.hash, offset })
      offset = end
      continue
    }
    const busy = onRecord({ ...header, segment: init.segment, offset }, payload)
    if (busy !== undefined) await busy
    skippedBytes += offset - validBytes
    validBytes = end
    offset = end
  }
  const inside = corrupt.filter((record) => record.offset < validBytes)
  return { validBytes, skippedBytes, corrupt: inside.map(({ hash }) => hash) }
}

/**
 * Where the zeros begin that reach up to `to`: space made ready for records, or a hole. The last
 * record may end behind it, when its content ends in zeros.
 */
export async function contentEnd(file: DiskFile, from: number, to: number): Promise<number> {
  const buffer = Buffer.allocUnsafe(TRAILING_WINDOW_BYTES)
  for (let end = to; end > from;) {
    const start = Math.max(from, end - buffer.byteLength)
    const count = await file.read(buffer.subarray(0, end - start), start)
    for (let at = count - 1; at >= 0; at -= 1) if (buffer[at] !== 0) return start + at + 1
    end = start
  }
  return from
}

/** A sliding view of the file: one large read serves thousands of small records. */
class ScanWindow {
  readonly #file: DiskFile
  readonly #end: number
  readonly #buffer = Buffer.allocUnsafe(RECORD_PAYLOAD_BYTES_MAX)
  #start = 0
  #length = 0

  constructor(file: DiskFile, end: number) {
    this.#file = file
    this.#end = end
  }

  /** Undefined when the bytes are not in the window. */
  cached(offset: number, length: number): Buffer | undefined {
    const at = offset - this.#start
    if (at < 0 || at + length > this.#length) return undefined
    return this.#buffer.subarray(at, at + length)
  }

  async read(offset: number, length: number, signal?: AbortSignal): Promise<Buffer> {
    signal?.throwIfAborted()
    const want = Math.min(this.#buffer.byteLength, this.#end - offset)
    this.#start = offset
    this.#length = await this.#file.read(this.#buffer.subarray(0, want), offset)
    return this.#buffer.subarray(0, Math.min(length, this.#length))
  }

  /** Position of the next occurrence, or the end. */
  async find(needle: Buffer, from: number, signal?: AbortSignal): Promise<number> {
    let offset = from
    while (offset + needle.byteLength <= this.#end) {
      const at = offset - this.#start
      const known = at >= 0 && at + needle.byteLength <= this.#length
      const view = known ? this.#buffer.subarray(at, this.#length) : undefined
      const bytes = view ?? (await this.read(offset, this.#buffer.byteLength, signal))
      if (bytes.byteLength < needle.byteLength) break
      const found = bytes.indexOf(needle)
      if (found >= 0) return offset + found
      offset += bytes.byteLength - needle.byteLength + 1
    }
    return this.#end
  }
}
