import {
  BlobCorruptError,
  BlobNotFoundError,
  StorageUnavailableError,
} from '../../shared/errors.ts'
import { type BlobLocation, chunkHashesBytes, sameLocation } from './blob-location.ts'
import type { BlobRead, ReadOptions, VerifyOptions } from './blob-store.ts'
import type { BufferPool } from './buffer-pool.ts'
import { satisfiedRange } from './byte-range.ts'
import { ChunkHasher, ChunkHashes } from './chunk-hashes.ts'
import { CHUNK_BYTES, READ_AHEAD_CHUNKS } from './constants.ts'
import { type DiskFile, type DiskFiles, errorCode } from './disk-files.ts'
import type { HashLocks } from './hash-locks.ts'
import type { Hashed, HashPool } from './hash-pool.ts'
import type { PackLog } from './pack-log.ts'
import { RECORD_HEADER_BYTES } from './pack-record.ts'
import type { PackSegments } from './pack-segments.ts'
import type { PrimaryIndex } from './primary-index.ts'
import type { Quarantine } from './quarantine.ts'
import type { StoreLayout } from './store-layout.ts'

interface Components {
  files: DiskFiles
  layout: StoreLayout
  index: PrimaryIndex
  segments: PackSegments
  packLog: PackLog
  locks: HashLocks
  quarantine: Quarantine
  hashPool: HashPool
  buffers: BufferPool
}

/** Reads blobs and lets nothing pass that was not checked. */
export class BlobReader {
  readonly #components: Components
  readonly #buffers: BufferPool
  readonly #release = (chunk: Uint8Array): void => this.#buffers.giveBack(chunk)

  constructor(components: Components) {
    this.#components = components
    this.#buffers = components.buffers
  }

  async read(hash: string, options: ReadOptions): Promise<BlobRead> {
    const location = this.#locate(hash)
    const range = satisfiedRange(location.sizeBytes, options)
    if (location.loose) return this.#readLoose(hash, location, range, options.signal)
    const bytes = await this.#readPacked(hash, location)
    const wanted = bytes.subarray(range.start, range.end + 1)
    const { sizeBytes } = location
    return { hash, sizeBytes, ...range, body: once(wanted), release: this.#release }
  }

  /** False: the copy was bad. Checks all of it, the chunk hashes too. */
  async verify(hash: string, options: VerifyOptions = {}): Promise<boolean> {
    const location = this.#locate(hash)
    try {
      if (!location.loose) {
        this.#release(await this.#readPacked(hash, location))
        await options.pace?.(location.sizeBytes)
        return true
      }
      const hashes = await this.#rebuildChunkHashes(hash, location, options)
      const stored = await this.#storedChunkHashes(hash, location)
      if (stored === undefined) await this.#rewrite(hash, location, hashes.encode(hash))
      return true
    } catch (error) {
      if (error instanceof BlobCorruptError) return false
      throw error
    }
  }

  /**
   * Writes the record of a blob anew, away from `segment`. A bad blob goes into quarantine
   * instead, one that is no longer there needs nothing.
   */
  async relocate(hash: string, segment: number): Promise<void> {
    const location = this.#components.index.get(hash)
    if (location?.segment !== segment) return
    try {
      const payload = location.loose
        ? (await this.#rebuildChunkHashes(hash, location)).encode(hash)
        : await this.#readPacked(hash, location)
      await this.#rewrite(hash, location, payload)
    } catch (error) {
      if (error instanceof BlobCorruptError || error instanceof BlobNotFoundError) return
      throw error
    }
  }

  #locate(hash: string): BlobLocation {
    const location = this.#components.index.get(hash)
    if (location === undefined) throw new BlobNotFoundError(`There is no blob ${hash} here.`)
    return location
  }

  async #readPacked(hash: string, location: BlobLocation): Promise<Buffer> {
    const { segments, index } = this.#components
    let bytes = this.#buffers.take(location.sizeBytes)
    let reason = 'its bytes have another hash'
    try {
      const position = location.offset + RECORD_HEADER_BYTES
      const count = await segments.read(location.segment, bytes, position)
      if (count < bytes.byteLength) {
        reason = 'its segment ends too early'
        bytes = bytes.subarray(0, count)
      } else {
        const hashing = this.#components.hashPool.hash(bytes)
        const hashed = hashing instanceof Promise ? await this.#returned(hashing) : hashing
        bytes = hashed.bytes
        if (hashed.hash === hash) return bytes
      }
    } catch (error) {
      reason = readFailure(error)
    }
    const now = index.get(hash)
    // Compaction moved it between the lookup and the read.
    if (now !== undefined && !sameLocation(now, location)) return this.#readPacked(hash, now)
    return this.#condemn(hash, location, reason, bytes)
  }

  /** Hashed on another thread, to which its memory was moved. */
  async #returned(hashing: Promise<Hashed>): Promise<Hashed> {
    const hashed = await hashing
    this.#buffers.adopt(hashed.bytes)
    return hashed
  }

  async #readLoose(
    hash: string,
    location: BlobLocation,
    range: { start: number; end: number },
    signal?: AbortSignal,
  ): Promise<BlobRead> {
    const { sizeBytes } = location
    const hashes = await this.#chunkHashes(hash, location, signal)
    const firstChunk = Math.floor(range.start / CHUNK_BYTES)
    const lastChunk = Math.floor(Math.max(range.end, 0) / CHUNK_BYTES)
    const loose = { hash, location, hashes, range }
    const first = await this.#firstChunk(loose, firstChunk)
    const body =
      firstChunk === lastChunk ? once(first) : this.#chunks(loose, first, firstChunk, signal)
    return { hash, sizeBytes, ...range, body, release: this.#release }
  }

  /** Read before `get` resolves, so that a bad blob answers an error instead of a cut body. */
  async #firstChunk(loose: LooseRead, chunk: number): Promise<Uint8Array> {
    const file = await this.#open(loose.hash, loose.location)
    try {
      return await this.#checkedChunk(file, loose, chunk)
    } finally {
      closeQuietly(file)
    }
  }

  /** The handle is opened when the body is iterated: a body nobody reads holds none. */
  async *#chunks(
    loose: LooseRead,
    first: Uint8Array,
    firstChunk: number,
    signal?: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    yield first
    const last = Math.floor(loose.range.end / CHUNK_BYTES)
    const file = await this.#open(loose.hash, loose.location)
    const ahead: Promise<Uint8Array>[] = []
    try {
      let next = firstChunk + 1
      for (let chunk = firstChunk + 1; chunk <= last; chunk += 1) {
        for (; next <= last && ahead.length < READ_AHEAD_CHUNKS; next += 1) {
          const reading = this.#checkedChunk(file, loose, next)
          reading.catch(() => undefined)
          ahead.push(reading)
        }
        const bytes = await (ahead.shift() as Promise<Uint8Array>)
        signal?.throwIfAborted()
        yield bytes
      }
    } finally {
      await Promise.allSettled(ahead)
      closeQuietly(file)
    }
  }

  async #readChunk(file: DiskFile, loose: LooseRead, chunk: number): Promise<Buffer> {
    const start = chunk * CHUNK_BYTES
    const buffer = this.#buffers.take(Math.min(CHUNK_BYTES, loose.location.sizeBytes - start))
    try {
      return buffer.subarray(0, await file.read(buffer, start))
    } catch (error) {
      return this.#condemn(loose.hash, loose.location, readFailure(error))
    }
  }

  /** The part of the chunk that was asked for, once the chunk is known to be right. */
  async #checkedChunk(file: DiskFile, loose: LooseRead, chunk: number): Promise<Uint8Array> {
    const read = await this.#readChunk(file, loose, chunk)
    const hashing = this.#components.hashPool.hash(read)
    const { hash, bytes } = hashing instanceof Promise ? await this.#returned(hashing) : hashing
    if (hash !== loose.hashes.at(chunk)) {
      return this.#condemn(loose.hash, loose.location, `chunk ${chunk} has another hash`)
    }
    const start = chunk * CHUNK_BYTES
    const from = Math.max(loose.range.start - start, 0)
    return bytes.subarray(from, loose.range.end + 1 - start)
  }

  async #chunkHashes(
    hash: string,
    location: BlobLocation,
    signal?: AbortSignal,
  ): Promise<ChunkHashes> {
    const stored = await this.#storedChunkHashes(hash, location)
    if (stored !== undefined) return stored
    const hashes = await this.#rebuildChunkHashes(hash, location, signal ? { signal } : {})
    // Best effort: without them the next read only takes longer.
    await this.#rewrite(hash, location, hashes.encode(hash)).catch(() => undefined)
    return hashes
  }

  /** Undefined when they are missing or damaged. */
  async #storedChunkHashes(hash: string, location: BlobLocation): Promise<ChunkHashes | undefined> {
    const buffer = Buffer.alloc(chunkHashesBytes(location.sizeBytes))
    if (buffer.byteLength > 0) {
      if (location.segment === 0) return undefined
      const position = location.offset + RECORD_HEADER_BYTES
      try {
        await this.#components.segments.read(location.segment, buffer, position)
      } catch {
        return undefined
      }
    }
    return ChunkHashes.decode(hash, location.sizeBytes, buffer)
  }

  /** Reads the whole file; its chunk hashes are only worth something when the whole is right. */
  async #rebuildChunkHashes(
    hash: string,
    location: BlobLocation,
    { signal, pace }: VerifyOptions = {},
  ): Promise<ChunkHashes> {
    const file = await this.#open(hash, location)
    const hasher = new ChunkHasher()
    let before: Uint8Array | undefined
    const whole = { start: 0, end: location.sizeBytes - 1 }
    const loose = { hash, location, hashes: new ChunkHashes([]), range: whole }
    try {
      const sizeBytes = await file.sizeBytes()
      if (sizeBytes !== location.sizeBytes) {
        const reason = `its file has ${sizeBytes} bytes instead of ${location.sizeBytes}`
        return await this.#condemn(hash, location, reason)
      }
      for (let start = 0; start < location.sizeBytes; start += CHUNK_BYTES) {
        signal?.throwIfAborted()
        const bytes = await this.#readChunk(file, loose, start / CHUNK_BYTES)
        hasher.add(bytes)
        // The hasher looks back at the chunk before.
        if (before) this.#release(before)
        before = bytes
        await pace?.(bytes.byteLength)
      }
    } finally {
      await file.close()
    }
    const result = hasher.finish()
    if (result.hash === hash) return result.chunkHashes
    return this.#condemn(hash, location, 'its bytes have another hash')
  }

  /** Appends the record anew, unless the blob was deleted or rewritten meanwhile. */
  async #rewrite(hash: string, location: BlobLocation, payload: Buffer): Promise<void> {
    const { index, packLog, locks } = this.#components
    await locks.run(hash, async () => {
      if (!sameLocation(index.get(hash), location)) return
      const kind = location.loose ? 'loose' : 'blob'
      await packLog.append({ kind, hash, value: location.sizeBytes, payload })
    })
  }

  async #open(hash: string, location: BlobLocation): Promise<DiskFile> {
    const { files, layout } = this.#components
    try {
      return await files.open(layout.loose(hash).path, 'read')
    } catch (error) {
      return this.#condemn(hash, location, readFailure(error))
    }
  }

  /** Always throws: corrupt, or not found when the blob was deleted meanwhile. */
  async #condemn(
    hash: string,
    location: BlobLocation,
    reason: string,
    bytes?: Buffer,
  ): Promise<never> {
    if (await this.#components.quarantine.take(hash, location, reason, bytes)) {
      throw new BlobCorruptError(`The copy of ${hash} is damaged: ${reason}.`)
    }
    throw new BlobNotFoundError(`There is no blob ${hash} here.`)
  }
}

interface LooseRead {
  hash: string
  location: BlobLocation
  hashes: ChunkHashes
  range: { start: number; end: number }
}

/** What a failed read says about the copy. @throws StorageUnavailableError when it says nothing */
function readFailure(error: unknown): string {
  if (error instanceof BlobCorruptError || error instanceof BlobNotFoundError) throw error
  const code = errorCode(error)
  if (code === 'ENOENT') return 'its file is missing'
  if (code === 'EIO' || code === 'EBADMSG' || code === 'EUCLEAN') return `it reads as ${code}`
  throw new StorageUnavailableError('The disk refused a read.', { cause: error })
}

/** A file that was only read has nothing to lose, and nobody needs to wait for its close. */
function closeQuietly(file: DiskFile): void {
  file.close().catch(() => undefined)
}

/** A body of one piece without the promises of a generator: most bodies are one piece. */
function once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]: () => {
      let left = bytes.byteLength > 0
      return {
        next: () => {
          if (!left) return Promise.resolve({ done: true, value: undefined })
          left = false
          return Promise.resolve({ done: false, value: bytes })
        },
      }
    },
  }
}
