import type { BlobRead, BlobStore, ReadOptions } from '../../p2p-daemon/store/blob-store.ts'
import { MemoryStore } from '../../p2p-daemon/store/memory-store.ts'
import { BlobCorruptError } from '../../shared/errors.ts'
import { LargeBlob } from './large-blob.ts'

/** What a node offers in a test of transfers: blobs in memory, and troubles on demand. */
export class SourceStore implements Pick<BlobStore, 'get' | 'stat'> {
  readonly #memory = new MemoryStore()
  #large: LargeBlob | undefined
  /** Reads at or after this byte find the copy damaged. */
  corruptFrom: number | undefined
  /** Reads wait for as long as it is set. */
  hold = false
  /** Reads that wait. */
  held = 0
  reads = 0

  /** Made when a test first speaks of it: hashing it takes a while. */
  get large(): LargeBlob {
    return (this.#large ??= new LargeBlob())
  }

  put(bytes: Uint8Array): Promise<{ hash: string }> {
    return this.#memory.put(bytes)
  }

  async stat(hash: string): Promise<{ hash: string; sizeBytes: number } | undefined> {
    return (await this.#large?.stat(hash)) ?? (await this.#memory.stat(hash))
  }

  async get(hash: string, options: ReadOptions = {}): Promise<BlobRead> {
    this.reads += 1
    if (this.hold) await this.#wait()
    const { corruptFrom } = this
    if (corruptFrom !== undefined && (options.start ?? 0) >= corruptFrom) {
      throw new BlobCorruptError('The copy is damaged.')
    }
    return hash === this.large.hash
      ? this.large.get(hash, options)
      : this.#memory.get(hash, options)
  }

  async #wait(): Promise<void> {
    this.held += 1
    while (this.hold) await new Promise((resolve) => setTimeout(resolve, 5))
    this.held -= 1
  }
}
