import { isUtf8 } from 'node:buffer'
import { hash } from 'node:crypto'

import { KiB } from '../limits.ts'
import { AUTHOR_CHARS_MAX, NESTING_MAX, TYPE_CHARS_MAX } from './constants.ts'
import { isSpace, type RawRecord } from './record-splitter.ts'

/** Why a record cannot be an entry. */
export type Unreadable =
  | 'not_json'
  | 'not_a_log_entry'
  | 'too_long'
  | 'too_deep'
  | 'invalid_utf8'
  | NonNullable<RawRecord['refusal']>

/** One entry as v1 wrote it. */
export interface LogEntry {
  /** The exact bytes of v1: what its hash is of. */
  bytes: Buffer
  /** Digits, because v1 counts to 2^64. */
  index: string
  timestamp: string
  author: string
  type: string
  hash: string
  prevHash: string
  signature: string
  /** Where the text of `data` lies in `bytes`. */
  dataStart: number
  dataEnd: number
}

// The order of the fields is that of v1's struct, and v1 writes no space between them.
const HEAD = new RegExp(
  String.raw`\{"index":(0|[1-9]\d{0,19}),` +
    String.raw`"timestamp":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d))",` +
    String.raw`"author":"((?:[^"\\]|\\.){0,${AUTHOR_CHARS_MAX}})",` +
    String.raw`"type":"((?:[^"\\]|\\.){0,${TYPE_CHARS_MAX}})","data":`,
  'y',
)
const TAIL = /,"hash":"([^"\\]{0,64})","prev_hash":"([^"\\]{0,64})","signature":"([^"\\]{0,64})"\}$/
const TAIL_CHARS_MAX = 256

const HASH_KEY = ',"hash":"'
const PREVIOUS_KEY = '","prev_hash":"'
const SIGNATURE_KEY = '","signature":"'
const HASH_CHARS = 64
const SIGNATURE_CHARS = 16
const FIXED_CHARS = HASH_KEY.length + HASH_CHARS + PREVIOUS_KEY.length + SIGNATURE_KEY.length
const END_CHARS = SIGNATURE_CHARS + 2

const INDEX_MAX = '18446744073709551615'
const NEEDS_DECODING = /[\\\x00-\x1f\x80-\xff]/ // oxlint-disable-line no-control-regex

/** Entries of v1 have half of this; a longer one gets memory of its own. */
const scratch = Buffer.allocUnsafe(64 * KiB)

/** Reads a record. Nothing is verified but that it is an entry, whole and unambiguous. */
export function readEntry(record: RawRecord): LogEntry | Unreadable {
  if (record.refusal) return record.refusal
  if (!record.whole) return 'too_long'
  const { bytes } = record
  if (bytes.length > NESTING_MAX && nestingOf(bytes) > NESTING_MAX) return 'too_deep'
  const entry = match(bytes)
  if (typeof entry !== 'string') return entry
  if (entry !== 'not_a_log_entry') return entry
  if (!isJSON(bytes.toString('latin1'))) return 'not_json'
  const dense = withoutSpace(bytes)
  return dense.length === bytes.length ? entry : match(dense)
}

/** The hash that v1 computes: of the exact bytes with the values of hash and signature emptied. */
export function hashOfEntry(entry: LogEntry): string {
  const { bytes, dataEnd, prevHash } = entry
  const tail = `${HASH_KEY}${PREVIOUS_KEY}${prevHash}${SIGNATURE_KEY}"}`
  const length = dataEnd + tail.length
  if (length > scratch.length) {
    return hash('sha256', Buffer.concat([bytes.subarray(0, dataEnd), Buffer.from(tail, 'latin1')]))
  }
  bytes.copy(scratch, 0, 0, dataEnd)
  scratch.write(tail, dataEnd, 'latin1')
  return hash('sha256', scratch.subarray(0, length))
}

/** What v1 calls a signature. There is no key in it: anybody can compute it. */
export function signatureOfEntry({ author, hash: own, index }: LogEntry): string {
  return hash('sha256', `${author}:${own}:${index}`).slice(0, SIGNATURE_CHARS)
}

/** The value of `data`; numbers beyond 2^53 are rounded, as JSON.parse does. */
export function dataOfEntry({ bytes, dataStart, dataEnd }: LogEntry): Record<string, unknown> {
  const value: unknown = JSON.parse(bytes.toString('utf8', dataStart, dataEnd))
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function match(bytes: Buffer): LogEntry | Unreadable {
  const text = bytes.toString('latin1')
  HEAD.lastIndex = 0
  const head = HEAD.exec(text)
  if (!head) return 'not_a_log_entry'
  const tail = matchTail(text)
  const dataStart = HEAD.lastIndex
  if (!tail || tail.start <= dataStart) return 'not_a_log_entry'
  const data = text.slice(dataStart, tail.start)
  if (data.charCodeAt(0) !== 0x7b && data !== 'null') return 'not_a_log_entry'
  if (!isJSON(data)) return 'not_a_log_entry'
  if (!isUtf8(bytes)) return 'invalid_utf8'
  const [, index = '', timestamp = '', author = '', type = ''] = head
  if (index.length === INDEX_MAX.length && index > INDEX_MAX) return 'not_a_log_entry'
  const names = [decode(author), decode(type)]
  if (names[0] === undefined || names[1] === undefined) return 'not_a_log_entry'
  return {
    bytes,
    index,
    timestamp,
    author: names[0],
    type: names[1],
    hash: tail.hash,
    prevHash: tail.prevHash,
    signature: tail.signature,
    dataStart,
    dataEnd: tail.start,
  }
}

interface Tail {
  start: number
  hash: string
  prevHash: string
  signature: string
}

/** By position where all values have the length that v1 gives them; only the first has no link. */
function matchTail(text: string): Tail | null {
  for (const linkChars of [HASH_CHARS, 0]) {
    const start = text.length - FIXED_CHARS - linkChars - END_CHARS
    const previousKey = start + HASH_KEY.length + HASH_CHARS
    const previous = previousKey + PREVIOUS_KEY.length
    const signatureKey = previous + linkChars
    if (
      start > 0 &&
      text.startsWith(HASH_KEY, start) &&
      text.startsWith(PREVIOUS_KEY, previousKey) &&
      text.startsWith(SIGNATURE_KEY, signatureKey) &&
      text.endsWith('"}')
    ) {
      const values = {
        start,
        hash: text.slice(start + HASH_KEY.length, previousKey),
        prevHash: text.slice(previous, signatureKey),
        signature: text.slice(-END_CHARS, -2),
      }
      if (!/["\\]/.test(values.hash + values.prevHash + values.signature)) return values
    }
  }
  const from = Math.max(0, text.length - TAIL_CHARS_MAX)
  const found = TAIL.exec(text.slice(from))
  if (!found) return null
  const [, own = '', prevHash = '', signature = ''] = found
  return { start: from + found.index, hash: own, prevHash, signature }
}

/** Latin-1 will do: bytes above 0x7f stand in strings only, whatever they mean. */
function isJSON(latin1: string): boolean {
  try {
    JSON.parse(latin1)
    return true
  } catch {
    return false
  }
}

function decode(raw: string): string | undefined {
  if (!NEEDS_DECODING.test(raw)) return raw
  try {
    return JSON.parse(`"${Buffer.from(raw, 'latin1').toString()}"`) as string
  } catch {
    return undefined
  }
}

function nestingOf(bytes: Buffer): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!
    if (inString) {
      if (byte === 0x5c) at++
      else if (byte === 0x22) inString = false
    } else if (byte === 0x22) inString = true
    else if (byte === 0x7b || byte === 0x5b) deepest = Math.max(deepest, ++depth)
    else if (byte === 0x7d || byte === 0x5d) depth--
  }
  return deepest
}

/** Whitespace outside strings, which indenting adds and v1 does not hash. */
function withoutSpace(bytes: Buffer): Buffer {
  const dense = Buffer.allocUnsafe(bytes.length)
  let length = 0
  let inString = false
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!
    if (!inString && isSpace(byte)) continue
    dense[length++] = byte
    if (inString && byte === 0x5c) dense[length++] = bytes[++at]!
    else if (byte === 0x22) inString = !inString
  }
  return dense.subarray(0, length)
}
