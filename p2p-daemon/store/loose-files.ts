import { randomUUID } from 'node:crypto'
import { join } from 'node:path'

import { ChunkHasher, type ChunkHashes } from './chunk-hashes.ts'
import { SYNCS_AT_ONCE_MAX } from './constants.ts'
import { DirectorySyncs } from './directory-syncs.ts'
import type { DiskFiles } from './disk-files.ts'
import { Slots } from './hash-locks.ts'
import type { StoreLayout } from './store-layout.ts'
import { secondsSince, type StoreMetrics } from './store-metrics.ts'
import { TempFile } from './temp-file.ts'

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
   * Writes the chunks to a temporary file, hashing on the way, and syncs it. `refuse` turns what
   * the disk says into the error of the put; an error of the source passes as it is. Nothing is
   * left behind on failure. `onTaken` is called with chunks that are written and hashed.
   */
  async stage(
    chunks: AsyncIterable<Uint8Array>,
    refuse: (cause: unknown) => Error,
    onTaken: (chunk: Uint8Array) => void = () => undefined,
  ): Promise<StagedBlob> {
    const tempPath = join(this.#layout.temp, `${randomUUID()}.part`)
    const onDisk = async <T>(work: Promise<T>): Promise<T> => {
      try {
        return await work
      } catch (error) {
        throw refuse(error)
      }
    }
    const file = await onDisk(this.#files.open(tempPath, 'create'))
    const sync = () => this.#timed(file.datasync())
    const temp = new TempFile({ file, syncs: this.#syncs, sync })
    const hasher = new ChunkHasher()
    let before: Uint8Array | undefined
    try {
      for await (const chunk of chunks) {
        await onDisk(temp.write(chunk))
        hasher.add(chunk)
        // Written, for a write begins when the one before is done.
        if (before) onTaken(before)
        before = chunk
      }
      await onDisk(temp.finish())
      if (before) onTaken(before)
      return { ...hasher.finish(), sizeBytes: temp.sizeBytes, tempPath }
    } catch (error) {
      await this.discard(tempPath)
      throw error
    } finally {
      await temp.close()
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
