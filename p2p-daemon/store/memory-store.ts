import { hashBytes, parseHash } from '../../shared/blob/hash.ts'
import { BlobCorruptError, BlobNotFoundError, HashMismatchError } from '../../shared/errors.ts'
import { BufferPool } from './buffer-pool.ts'
import type {
  BlobRead,
  BlobStat,
  BlobStore,
  DeleteOptions,
  PutOptions,
  PutResult,
  ReadOptions,
  VerifyOptions,
} from './blob-store.ts'
import { satisfiedRange } from './byte-range.ts'
import { CHUNK_BYTES } from './constants.ts'
import { uploadChunks } from './upload.ts'

/** Blobs in memory, for tests and tools. The rules of BlobStore hold, except that nothing lasts. */
export class MemoryStore implements BlobStore {
  readonly #buffers = new BufferPool()
  readonly #blobs = new Map<string, Uint8Array>()
  readonly #onCorrupt: (hash: string, reason: string) => void
  #onPut: (hash: string) => void = () => undefined

  constructor(components: { onCorrupt?: (hash: string, reason: string) => void } = {}) {
    this.#onCorrupt = components.onCorrupt ?? (() => undefined)
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  async put(
    source: AsyncIterable<Uint8Array> | Uint8Array,
    options: PutOptions = {},
  ): Promise<PutResult> {
    const expected =
      options.expectedHash === undefined ? undefined : parseHash(options.expectedHash)
    const chunks: Uint8Array[] = []
    for await (const chunk of uploadChunks(source, options, this.#buffers)) chunks.push(chunk)
    const bytes = Buffer.concat(chunks)
    const hash = hashBytes(bytes)
    if (expected !== undefined && expected !== hash) {
      throw new HashMismatchError(`The bytes have the hash ${hash}, not ${expected}.`)
    }
    this.#onPut(hash)
    const existed = this.#blobs.has(hash)
    if (!existed) this.#blobs.set(hash, bytes)
    return { hash, sizeBytes: bytes.byteLength, existed }
  }

  async get(hash: string, options: ReadOptions = {}): Promise<BlobRead> {
    options.signal?.throwIfAborted()
    const id = parseHash(hash)
    const bytes = this.#blobs.get(id)
    if (bytes === undefined) throw new BlobNotFoundError(`There is no blob ${id} here.`)
    const { start, end } = satisfiedRange(bytes.byteLength, options)
    if (!(await this.verify(id))) throw new BlobCorruptError(`The copy of ${id} is damaged.`)
    const wanted = bytes.subarray(start, end + 1)
    return {
      hash: id,
      sizeBytes: bytes.byteLength,
      start,
      end,
      body: pieces(wanted, options.signal),
    }
  }

  async stat(hash: string): Promise<BlobStat | undefined> {
    const id = parseHash(hash)
    const bytes = this.#blobs.get(id)
    return bytes === undefined ? undefined : { hash: id, sizeBytes: bytes.byteLength }
  }

  async touch(hash: string): Promise<BlobStat | undefined> {
    this.#onPut(parseHash(hash))
    return this.stat(hash)
  }

  watchPuts(listener: (hash: string) => void): void {
    this.#onPut = listener
  }

  async delete(hash: string, options: DeleteOptions = {}): Promise<boolean> {
    const id = parseHash(hash)
    return this.#blobs.has(id) && options.onlyIf?.() !== false && this.#blobs.delete(id)
  }

  async *list(
    options: { after?: string; limit?: number; signal?: AbortSignal } = {},
  ): AsyncGenerator<BlobStat> {
    const after = options.after === undefined ? '' : parseHash(options.after)
    let left = options.limit ?? Number.POSITIVE_INFINITY
    for (const hash of [...this.#blobs.keys()].toSorted()) {
      options.signal?.throwIfAborted()
      const bytes = this.#blobs.get(hash)
      if (hash <= after || bytes === undefined) continue
      if (left <= 0) return
      left -= 1
      yield { hash, sizeBytes: bytes.byteLength }
    }
  }

  async usage(): Promise<{ blobs: number; bytes: number }> {
    let bytes = 0
    for (const blob of this.#blobs.values()) bytes += blob.byteLength
    return { blobs: this.#blobs.size, bytes }
  }

  async verify(hash: string, options: VerifyOptions = {}): Promise<boolean> {
    const id = parseHash(hash)
    const bytes = this.#blobs.get(id)
    if (bytes === undefined) throw new BlobNotFoundError(`There is no blob ${id} here.`)
    const isGood = hashBytes(bytes) === id
    await options.pace?.(bytes.byteLength)
    if (isGood) return true
    this.#blobs.delete(id)
    this.#onCorrupt(id, 'the bytes in memory have another hash')
    return false
  }
}

async function* pieces(bytes: Uint8Array, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += CHUNK_BYTES) {
    signal?.throwIfAborted()
    yield bytes.subarray(at, at + CHUNK_BYTES)
  }
}
