import { ChunkHasher } from './chunk-hashes.ts'
import { CHUNK_BYTES } from './constants.ts'
import type { DiskFiles } from './disk-files.ts'
import type { HashLocks } from './hash-locks.ts'
import { walkLoose } from './loose-walk.ts'
import type { PackLog } from './pack-log.ts'
import type { PrimaryIndex } from './primary-index.ts'
import type { Quarantine } from './quarantine.ts'
import type { StoreLayout } from './store-layout.ts'

/**
 * Loose files that no record speaks of. A put that was cut between its rename and its record
 * leaves one; nobody was told that it is stored, but its bytes are good, so it is taken in and
 * garbage collection decides. Deleting what an index does not know would trust a cache too far.
 */
export class LooseOrphans {
  readonly #files: DiskFiles
  readonly #layout: StoreLayout
  readonly #index: PrimaryIndex
  readonly #packLog: PackLog
  readonly #locks: HashLocks
  readonly #quarantine: Quarantine

  constructor(components: {
    files: DiskFiles
    layout: StoreLayout
    index: PrimaryIndex
    packLog: PackLog
    locks: HashLocks
    quarantine: Quarantine
  }) {
    this.#files = components.files
    this.#layout = components.layout
    this.#index = components.index
    this.#packLog = components.packLog
    this.#locks = components.locks
    this.#quarantine = components.quarantine
  }

  /** Resolves to the number taken in. */
  async adopt(signal?: AbortSignal): Promise<number> {
    let adopted = 0
    for await (const hashes of walkLoose(this.#files, this.#layout, signal)) {
      for (const hash of hashes) {
        if (this.#index.get(hash) === undefined && (await this.#adoptOne(hash, signal))) {
          adopted += 1
        }
      }
    }
    return adopted
  }

  /** Under the lock of the hash: a put may be between its rename and its record just now. */
  #adoptOne(hash: string, signal: AbortSignal | undefined): Promise<boolean> {
    return this.#locks.run(hash, async () => {
      const { path } = this.#layout.loose(hash)
      const found = await this.#files.stat(path)
      if (found === undefined || this.#index.get(hash) !== undefined) return false
      const actual = await this.#hash(path, found.sizeBytes, signal)
      if (actual.hash !== hash) {
        await this.#quarantine.setAside(hash, 'an unknown file whose bytes have another hash')
        return false
      }
      const payload = actual.chunkHashes.encode(hash)
      await this.#packLog.append({ kind: 'loose', hash, value: found.sizeBytes, payload }, signal)
      return true
    })
  }

  async #hash(
    path: string,
    sizeBytes: number,
    signal: AbortSignal | undefined,
  ): Promise<ReturnType<ChunkHasher['finish']>> {
    const file = await this.#files.open(path, 'read')
    try {
      const hasher = new ChunkHasher()
      for (let start = 0; start < sizeBytes; start += CHUNK_BYTES) {
        signal?.throwIfAborted()
        const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, sizeBytes - start))
        hasher.add(chunk.subarray(0, await file.read(chunk, start)))
      }
      return hasher.finish()
    } finally {
      await file.close()
    }
  }
}
