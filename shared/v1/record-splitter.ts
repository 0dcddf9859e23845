import { RECORD_BYTES_MAX, RECORD_BYTES_SHOWN_MAX } from './constants.ts'

/** What lies between two separators of a log, before anybody looked what it is. */
export interface RawRecord {
  /** Without whitespace around it; only the beginning where it is not whole. */
  bytes: Buffer
  /** Where it lies in the file. */
  offset: number
  sizeBytes: number
  /** False when it is longer than RECORD_BYTES_MAX. */
  whole: boolean
  /** Why what holds it does not vouch for it; for records of signed stores. */
  refusal?: 'missing_block' | 'tampered_block'
}

const NEWLINE = 0x0a
const QUOTE = 0x22
const COMMA = 0x2c
const BACKSLASH = 0x5c
const BRACKET_OPEN = 0x5b
const BRACKET_CLOSE = 0x5d
const BRACE_OPEN = 0x7b
const BRACE_CLOSE = 0x7d
const BOM = Buffer.from([0xef, 0xbb, 0xbf])

/** Space, tab, line feed, carriage return: what JSON calls whitespace. */
export function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x09 || byte === NEWLINE || byte === 0x0d
}

/**
 * Cuts the bytes of a log into records, whatever the chunks they come in: lines of NDJSON, or
 * elements of a JSON array when the first thing is a bracket. It knows strings and nesting, nothing
 * else; whether a record is JSON is seen later. Memory is one chunk and one record.
 */
export class RecordSplitter {
  #format: 'unknown' | 'lines' | 'array' | 'after' = 'unknown'
  #pieces: Buffer[] = []
  #pendingBytes = 0
  #pendingOffset = 0
  #offset = 0
  #depth = 0
  #inString = false
  #escaped = false
  #afterComma = false

  /** Records that end in this chunk. They refer to its memory. */
  push(chunk: Buffer): RawRecord[] {
    const records: RawRecord[] = []
    let from = 0
    if (this.#format === 'unknown') from = this.#begin(chunk)
    if (this.#format === 'lines') this.#lines(chunk, from, records)
    else if (this.#format === 'array') this.#array(chunk, from, records)
    else if (this.#format === 'after') this.#keep(chunk, from, chunk.length)
    this.#offset += chunk.length
    return records
  }

  /** What is left when the log is at its end. */
  end(): RawRecord[] {
    const records: RawRecord[] = []
    this.#finish(records)
    // An array without its bracket is not JSON, also where it was cut behind an element. Where it
    // was cut inside of one, that is what is told.
    if (this.#format === 'array' && this.#depth === 1 && !this.#inString) {
      records.push({ bytes: Buffer.alloc(0), offset: this.#offset, sizeBytes: 0, whole: true })
    }
    return records
  }

  #begin(chunk: Buffer): number {
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]!
      const place = this.#offset + at
      if (isSpace(byte) || (place < BOM.length && byte === BOM[place])) continue
      this.#format = byte === BRACKET_OPEN ? 'array' : 'lines'
      this.#depth = 1
      return this.#format === 'array' ? at + 1 : at
    }
    return chunk.length
  }

  #lines(chunk: Buffer, from: number, records: RawRecord[]): void {
    let start = from
    for (;;) {
      const end = chunk.indexOf(NEWLINE, start)
      this.#keep(chunk, start, end === -1 ? chunk.length : end)
      if (end === -1) return
      this.#finish(records)
      start = end + 1
    }
  }

  #array(chunk: Buffer, from: number, records: RawRecord[]): void {
    let start = from
    let depth = this.#depth
    let inString = this.#inString
    let escaped = this.#escaped
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at]!
      if (inString) {
        if (escaped) escaped = false
        else if (byte === BACKSLASH) escaped = true
        else if (byte === QUOTE) inString = false
      } else if (byte === QUOTE) inString = true
      else if (byte === BRACE_OPEN || byte === BRACKET_OPEN) depth++
      else if (byte === BRACE_CLOSE || byte === BRACKET_CLOSE) {
        depth--
        if (depth > 0) continue
        this.#keep(chunk, start, at)
        this.#finish(records, this.#afterComma)
        this.#format = 'after'
        this.#keep(chunk, at + 1, chunk.length)
        return
      } else if (byte === COMMA && depth === 1) {
        this.#keep(chunk, start, at)
        this.#finish(records, true)
        this.#afterComma = true
        start = at + 1
      }
    }
    this.#keep(chunk, start, chunk.length)
    this.#depth = depth
    this.#inString = inString
    this.#escaped = escaped
  }

  #keep(chunk: Buffer, from: number, to: number): void {
    if (to <= from) return
    if (this.#pendingBytes === 0) this.#pendingOffset = this.#offset + from
    const room = RECORD_BYTES_MAX - this.#pendingBytes
    if (room > 0) this.#pieces.push(chunk.subarray(from, to))
    this.#pendingBytes += to - from
    if (this.#pendingBytes > RECORD_BYTES_MAX && this.#pieces.length > 1) {
      this.#pieces = [Buffer.concat(this.#pieces, RECORD_BYTES_SHOWN_MAX)]
    }
  }

  /** Blank ones are none, except beside a comma. */
  #finish(records: RawRecord[], evenBlank = false): void {
    const pieces = this.#pieces
    const sizeBytes = this.#pendingBytes
    const offset = this.#pendingOffset
    this.#pieces = []
    this.#pendingBytes = 0
    if (sizeBytes > RECORD_BYTES_MAX) {
      const bytes = Buffer.concat(pieces).subarray(0, RECORD_BYTES_SHOWN_MAX)
      records.push({ bytes, offset, sizeBytes, whole: false })
      return
    }
    const bytes = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
    let start = 0
    let end = bytes.length
    // Files that were put together from several may have a mark in the middle.
    if (bytes[0] === BOM[0] && bytes.subarray(0, BOM.length).equals(BOM)) start = BOM.length
    while (start < end && isSpace(bytes[start]!)) start++
    while (end > start && isSpace(bytes[end - 1]!)) end--
    if (start === end && !evenBlank) return
    records.push({
      bytes: bytes.subarray(start, end),
      offset: offset + start,
      sizeBytes: end - start,
      whole: true,
    })
  }
}
