import { CHUNK_BYTES, POOLED_BUFFER_BYTES_MIN, POOLED_BYTES_MAX } from './constants.ts'

/**
 * Memory for what is read or arrives, handed out again when it was given back. Memory that never
 * comes back is the garbage collector's as ever, but then every few megabytes bring a collection,
 * which walks everything the node holds: together with fresh pages that takes as long as reading.
 */
export class BufferPool {
  /** Free buffers by length, which is a power of two. */
  readonly #free = new Map<number, ArrayBuffer[]>()
  /** Buffers in use that came from here, and how much of each was asked for. */
  readonly #lent = new WeakMap<ArrayBufferLike, number>()
  #freeBytes = 0

  take(length: number): Buffer {
    if (length < POOLED_BUFFER_BYTES_MIN / 2) return Buffer.allocUnsafe(length)
    if (length > CHUNK_BYTES) return Buffer.allocUnsafeSlow(length)
    const size = Math.max(POOLED_BUFFER_BYTES_MIN, 2 ** Math.ceil(Math.log2(length)))
    let buffer: ArrayBufferLike | undefined = this.#free.get(size)?.pop()
    if (buffer) this.#freeBytes -= size
    else buffer = Buffer.allocUnsafeSlow(size).buffer
    this.#lent.set(buffer, length)
    return Buffer.from(buffer as ArrayBuffer, 0, length)
  }

  /** Memory from here that was moved to another thread came back under another name. */
  adopt(bytes: Uint8Array): void {
    this.#lent.set(bytes.buffer, bytes.length)
  }

  /**
   * Nobody may use the bytes any more. Ignored for what did not come from here, for a part of what
   * did, as the other part may still be in use, and for what was given back before.
   */
  giveBack(bytes: Uint8Array): void {
    const { buffer } = bytes
    if (this.#lent.get(buffer) !== bytes.length || !(buffer instanceof ArrayBuffer)) return
    this.#lent.delete(buffer)
    const size = buffer.byteLength
    if (this.#freeBytes + size > POOLED_BYTES_MAX) return
    this.#freeBytes += size
    const free = this.#free.get(size)
    if (free) free.push(buffer)
    else this.#free.set(size, [buffer])
  }
}
