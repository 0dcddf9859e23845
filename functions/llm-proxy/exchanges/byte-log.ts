import { PAGE_BYTES, PIECE_BYTES_MIN } from './constants.ts'

/** Bytes in order, many small pieces in few pages. */
export class ByteLog {
  #pages: Uint8Array[] = []
  /** The last page, while there is room in it. */
  #page: Buffer = Buffer.alloc(0)
  #used = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  append(bytes: Uint8Array): void {
    this.#length += bytes.length
    if (bytes.length >= PIECE_BYTES_MIN) {
      this.#close()
      this.#pages.push(bytes)
      return
    }
    if (this.#used + bytes.length > this.#page.length) {
      this.#close()
      // A short answer takes a short page.
      const size = Math.min(PAGE_BYTES, Math.max(this.#length * 2, 1024))
      this.#page = Buffer.allocUnsafeSlow(Math.max(size, bytes.length))
    }
    this.#page.set(bytes, this.#used)
    this.#used += bytes.length
  }

  toBuffer(): Buffer {
    this.#close()
    const [first] = this.#pages
    if (!first || this.#pages.length > 1) return Buffer.concat(this.#pages)
    return Buffer.from(first.buffer, first.byteOffset, first.length)
  }

  #close(): void {
    if (this.#used > 0) this.#pages.push(this.#page.subarray(0, this.#used))
    this.#page = Buffer.alloc(0)
    this.#used = 0
  }
}
