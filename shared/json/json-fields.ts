/** A key of ours is short; a longer one is none of those asked for. */
const KEY_BYTES_MAX = 256

/** A string of this length without a space is no text but data in base64: an image, a sound. */
const DATA_BYTES_MIN = 4096

/** As far as a space is looked for in a long string: prose has one every few letters. */
const SPACE_LOOK_BYTES = 256

const QUOTE = 0x22
const BACKSLASH = 0x5c

/** The value of a key of the outermost object, as it stands in the bytes. */
export interface JSONField {
  /** First byte of the value, and the first one after it, counted from the first byte of all. */
  start: number
  end: number
  /** Undefined where it was longer than what is kept. */
  bytes: Buffer | undefined
}

export interface JSONFieldsInit {
  names: readonly string[]
  /** Longer values are found but not kept. */
  valueBytesMax: number
}

/**
 * Finds keys of the outermost object of a JSON text that comes in pieces, without building it:
 * what is forwarded as bytes need not be parsed to know its `model` or its `usage`. Nested values
 * are skipped, so a text that is no JSON may pass; whoever gets it refuses it.
 */
export class JSONFields {
  readonly #names: ReadonlySet<string>
  readonly #valueBytesMax: number
  readonly #found = new Map<string, JSONField>()
  /** Bytes before the piece that is read now. */
  #base = 0
  #depth = 0
  #inString = false
  #escaped = false
  /** At depth 1: whether a key comes, or a value, or what ends it. */
  #expects: 'key' | 'colon' | 'value' | 'end' = 'key'
  #stringStart = 0
  #stringHead: Buffer | null = null
  #key: string | null = null
  #keyPieces: Buffer[] = []
  #valueStart = 0
  #valueEnd = 0
  #valuePieces: Buffer[] | null = null
  #valueBytes = 0
  #isComplete = false
  #isBroken = false
  #repeated: string | null = null
  #dataBytes = 0
  #dataStrings = 0

  constructor(init: JSONFieldsInit) {
    this.#names = new Set(init.names)
    this.#valueBytesMax = init.valueBytesMax
  }

  /** True when the outermost object has ended and nothing but space followed. */
  get isComplete(): boolean {
    return this.#isComplete && !this.#isBroken
  }

  /** A key asked for that stands there twice: readers differ on which one counts. */
  get repeated(): string | null {
    return this.#repeated
  }

  /** Long strings that are no text, and their bytes together. */
  get data(): { strings: number; bytes: number } {
    return { strings: this.#dataStrings, bytes: this.#dataBytes }
  }

  get(name: string): JSONField | undefined {
    return this.#found.get(name)
  }

  /** The value of a key, parsed; undefined where it is absent, too long, or no JSON. */
  value(name: string): unknown {
    const bytes = this.#found.get(name)?.bytes
    if (!bytes) return undefined
    try {
      return JSON.parse(bytes.toString())
    } catch {
      return undefined
    }
  }

  push(chunk: Buffer): void {
    let at = 0
    // Where the next of each stands, so that no byte is searched twice for it.
    let quoteAt = -1
    let slashAt = -1
    while (at < chunk.length) {
      if (this.#escaped) {
        this.#escaped = false
        at += 1
        continue
      }
      if (this.#inString) {
        if (quoteAt < at) quoteAt = indexOrEnd(chunk, QUOTE, at)
        if (slashAt < at) slashAt = indexOrEnd(chunk, BACKSLASH, at)
        if (slashAt < quoteAt) {
          this.#escaped = true
          at = slashAt + 1
        } else if (quoteAt < chunk.length) {
          this.#endString(chunk, quoteAt)
          at = quoteAt + 1
        } else {
          at = chunk.length
        }
        continue
      }
      this.#structure(chunk, at)
      at += 1
    }
    this.#carryOver(chunk)
    this.#base += chunk.length
  }

  #structure(chunk: Buffer, at: number): void {
    const byte = chunk[at]!
    switch (byte) {
      case QUOTE:
        this.#startString(chunk, at)
        return
      case 0x7b: // {
      case 0x5b: // [
        if (this.#depth === 0 && (byte === 0x5b || this.#isComplete)) this.#isBroken = true
        if (this.#depth === 1) this.#startValue(at)
        this.#depth += 1
        return
      case 0x7d: // }
      case 0x5d: // ]
        this.#depth -= 1
        if (this.#depth === 1) this.#valueEnd = this.#base + at + 1
        else if (this.#depth === 0) {
          this.#endValue(chunk)
          this.#isComplete = true
        } else if (this.#depth < 0) this.#isBroken = true
        return
      case 0x3a: // :
        if (this.#depth === 1 && this.#expects === 'colon') this.#expects = 'value'
        return
      case 0x2c: // ,
        if (this.#depth === 1) {
          this.#endValue(chunk)
          this.#expects = 'key'
        }
        return
      case 0x20:
      case 0x09:
      case 0x0a:
      case 0x0d:
        return
      default:
        if (this.#depth === 0) this.#isBroken = true
        else if (this.#depth === 1) {
          this.#startValue(at)
          this.#valueEnd = this.#base + at + 1
        }
    }
  }

  #startString(chunk: Buffer, at: number): void {
    if (this.#depth === 0) this.#isBroken = true
    if (this.#depth === 1) this.#startValue(at)
    this.#inString = true
    this.#stringStart = this.#base + at
    this.#stringHead = null
    if (this.#depth === 1 && this.#expects === 'key') this.#keyPieces = []
    else if (chunk.length - at > SPACE_LOOK_BYTES) {
      this.#stringHead = chunk.subarray(at, at + SPACE_LOOK_BYTES)
    }
  }

  #endString(chunk: Buffer, at: number): void {
    this.#inString = false
    const end = this.#base + at + 1
    const length = end - this.#stringStart
    if (length >= DATA_BYTES_MIN && this.#stringHead?.includes(0x20) === false) {
      this.#dataStrings += 1
      this.#dataBytes += length
    }
    if (this.#depth !== 1) return
    if (this.#expects !== 'key') {
      this.#valueEnd = end
      return
    }
    this.#expects = 'colon'
    this.#key = null
    if (length > KEY_BYTES_MAX) return
    const from = Math.max(this.#stringStart - this.#base, 0)
    const text = Buffer.concat([...this.#keyPieces, chunk.subarray(from, at + 1)]).toString()
    this.#keyPieces = []
    const key = text.includes('\\') ? unescape(text) : text.slice(1, -1)
    if (!this.#names.has(key)) return
    if (this.#found.has(key)) this.#repeated = key
    this.#key = key
  }

  #startValue(at: number): void {
    if (this.#expects !== 'value') return
    this.#expects = 'end'
    this.#valueStart = this.#base + at
    this.#valueEnd = this.#valueStart
    this.#valuePieces = this.#key === null ? null : []
    this.#valueBytes = 0
  }

  #endValue(chunk: Buffer): void {
    if (this.#key === null || this.#expects !== 'end') return
    const last = chunk.subarray(
      Math.max(this.#valueStart - this.#base, 0),
      Math.max(this.#valueEnd - this.#base, 0),
    )
    const length = this.#valueEnd - this.#valueStart
    const pieces = this.#valuePieces
    const bytes =
      pieces && length <= this.#valueBytesMax
        ? Buffer.concat([...pieces, last]).subarray(0, length)
        : undefined
    this.#found.set(this.#key, { start: this.#valueStart, end: this.#valueEnd, bytes })
    this.#key = null
    this.#valuePieces = null
  }

  /** What of a key or of a value asked for stands in this piece, kept for the next one. */
  #carryOver(chunk: Buffer): void {
    if (this.#depth < 1) return
    if (this.#inString && this.#depth === 1 && this.#expects === 'key') {
      const from = Math.max(this.#stringStart - this.#base, 0)
      if (this.#base + chunk.length - this.#stringStart <= KEY_BYTES_MAX) {
        this.#keyPieces.push(Buffer.from(chunk.subarray(from)))
      }
    }
    if (!this.#valuePieces || this.#expects !== 'end') return
    const piece = chunk.subarray(Math.max(this.#valueStart - this.#base, 0))
    this.#valueBytes += piece.length
    if (this.#valueBytes <= this.#valueBytesMax) this.#valuePieces.push(Buffer.from(piece))
    else this.#valuePieces = null
  }
}

function indexOrEnd(chunk: Buffer, byte: number, from: number): number {
  const index = chunk.indexOf(byte, from)
  return index === -1 ? chunk.length : index
}

function unescape(text: string): string {
  try {
    return String(JSON.parse(text))
  } catch {
    return text
  }
}
