import { randomUUID } from 'node:crypto'
import { join } from 'node:path'

import { ChunkHasher, type ChunkHashes } from './chunk-hashes.ts'
import { SYNCS_AT_ONCE_MAX } from './constants.ts'
import { DirectorySyncs } from './directory-syncs.ts'
import { type DiskFiles, shortWrite } from './disk-files.ts'
import { Slots } from './hash-locks.ts'
import type { StoreLayout } from './store-layout.ts'
import { secondsSince, type StoreMetrics } from './store-metrics.ts'

export interface StagedBlob {
  hash: string
  sizeBytes: number
  chunkHashes: ChunkHashes
  tempPath: string
}

/** Blobs as files of their own. Who calls holds the lock of the hash, except for `stage`. */
export class LooseFiles {
  readonly #files: DiskFiles
  readonly #layout: StoreLayout
  readonly #metrics: StoreMetrics
  readonly #syncs = new Slots(SYNCS_AT_ONCE_MAX)
  readonly #directories: DirectorySyncs
  /** At most the 65,792 directories there can be. */
  readonly #durable = new Set<string>()

  constructor(components: { files: DiskFiles; layout: StoreLayout; metrics: StoreMetrics }) {
    this.#files = components.files
    this.#layout = components.layout
    this.#metrics = components.metrics
    this.#directories = new DirectorySyncs(components)
  }

  /**
   * Writes the chunks to a temporary file, hashing on the way, and syncs it. The next chunk is
   * received and hashed while the last is written. `refuse` turns a failed write into the error
   * of the put; an error of the source passes as it is. Nothing is left behind on failure.
   */
  async stage(
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    refuse: (cause: unknown) => Error,
  ): Promise<StagedBlob> {
    const tempPath = join(this.#layout.temp, `${randomUUID()}.part`)
    const disk = <T>(work: Promise<T>): Promise<T> =>
      work.catch((error: unknown) => {
        throw refuse(error)
      })
    const file = await disk(this.#files.open(tempPath, 'create'))
    const hasher = new ChunkHasher()
    let sizeBytes = 0
    let writing: Promise<void> = Promise.resolve()
    try {
      for await (const chunk of chunks) {
        const position = sizeBytes
        sizeBytes += chunk.byteLength
        await writing
        writing = disk(writeFully(file, chunk, position))
        writing.catch(() => undefined)
        hasher.add(chunk)
      }
      await writing
      await disk(this.#syncs.run(() => this.#timed(file.datasync())))
      return { ...hasher.finish(), sizeBytes, tempPath }
    } catch (error) {
      await writing.catch(() => undefined)
      await this.discard(tempPath)
      throw error
    } finally {
      await file.close().catch(() => undefined)
    }
  }

  /** The blob is on the disk under its name when this resolves. */
  async publish(staged: StagedBlob): Promise<void> {
    const { outer, shard, path } = this.#layout.loose(staged.hash)
    const { data } = this.#layout
    const changed = [shard]
    // A directory that is there may still be lost, unless this process saw its parent synced.
    for (const [directory, parent] of [
      [outer, data],
      [shard, outer],
    ] as const) {
      if (this.#durable.has(directory)) continue
      await this.#files.makeDirectory(directory)
      changed.push(parent)
    }
    await this.#files.rename(staged.tempPath, path)
    await this.#timed(this.#directories.sync(changed))
    this.#durable.add(outer).add(shard)
  }

  async discard(tempPath: string): Promise<void> {
    await this.#files.unlink(tempPath).catch(() => undefined)
  }

  async removeIfThere(hash: string): Promise<void> {
    const { shard, path } = this.#layout.loose(hash)
    if ((await this.#files.stat(path)) === undefined) return
    await this.#files.unlink(path)
    await this.#timed(this.#directories.sync([shard]))
  }

  async #timed(sync: Promise<void>): Promise<void> {
    const startedMs = performance.now()
    await sync
    this.#metrics.fsync(secondsSince(startedMs))
  }
}

async function writeFully(
  file: { write(buffers: readonly Uint8Array[], position: number): Promise<number> },
  chunk: Uint8Array,
  position: number,
): Promise<void> {
  const written = await file.write([chunk], position)
  if (written !== chunk.byteLength) throw shortWrite(written)
}

/** For a put of a blob that is here already: nothing is written, but the bytes must be right. */
export async function hashOnly(
  chunks: AsyncIterable<Uint8Array>,
): Promise<{ hash: string; sizeBytes: number }> {
  const hasher = new ChunkHasher()
  let sizeBytes = 0
  for await (const chunk of chunks) {
    hasher.add(chunk)
    sizeBytes += chunk.byteLength
  }
  return { hash: hasher.finish().hash, sizeBytes }
}
