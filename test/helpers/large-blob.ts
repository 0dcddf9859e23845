import { randomBytes } from 'node:crypto'

import type { BlobRead, BlobStore, ReadOptions } from '../../p2p-daemon/store/blob-store.ts'
import { createHasher } from '../../shared/blob/hash.ts'
import { MiB } from '../../shared/limits.ts'

export const LARGE_BYTES = 96 * MiB

/** A store with one blob that is computed, not held: what a test measures is the transfer. */
export class LargeBlob implements Pick<BlobStore, 'get' | 'stat'> {
  readonly hash: string
  readonly #chunk = randomBytes(1 * MiB)
  bytesRead = 0
  /** Bodies that are being read. */
  reading = 0

  constructor() {
    const hasher = createHasher()
    for (let offset = 0; offset < LARGE_BYTES; offset += MiB) hasher.update(this.#at(offset))
    this.hash = hasher.digestHex()
  }

  async stat(hash: string): Promise<{ hash: string; sizeBytes: number } | undefined> {
    return hash === this.hash ? { hash, sizeBytes: LARGE_BYTES } : undefined
  }

  async get(hash: string, options: ReadOptions = {}): Promise<BlobRead> {
    const { start = 0, end = LARGE_BYTES - 1 } = options
    const last = Math.min(end, LARGE_BYTES - 1)
    return { hash, sizeBytes: LARGE_BYTES, start, end: last, body: this.#body(start, last) }
  }

  async *#body(start: number, end: number): AsyncGenerator<Uint8Array> {
    this.reading += 1
    try {
      for (let offset = start; offset <= end;) {
        const base = offset - (offset % MiB)
        const bytes = this.#at(base).subarray(offset - base, Math.min(MiB, end + 1 - base))
        this.bytesRead += bytes.length
        offset += bytes.length
        yield bytes
      }
    } finally {
      this.reading -= 1
    }
  }

  #at(offset: number): Buffer {
    const bytes = Buffer.from(this.#chunk)
    bytes.writeUInt32BE(offset / MiB, 0)
    return bytes
  }
}
