import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { StorageUnavailableError } from '../../shared/errors.ts'
import { type BlobLocation, sameLocation } from './blob-location.ts'
import type { DiskFiles } from './disk-files.ts'
import type { HashLocks } from './hash-locks.ts'
import type { PackLog } from './pack-log.ts'
import type { PrimaryIndex } from './primary-index.ts'
import type { StoreLayout } from './store-layout.ts'
import type { StoreLog } from './store-log.ts'
import type { StoreMetrics } from './store-metrics.ts'

/** Takes bad copies out of the way of reads, keeps them to look at, and tells who can repair. */
export class Quarantine {
  readonly #files: DiskFiles
  readonly #layout: StoreLayout
  readonly #index: PrimaryIndex
  readonly #packLog: PackLog
  readonly #locks: HashLocks
  readonly #metrics: StoreMetrics
  readonly #log: StoreLog
  readonly #onCorrupt: (hash: string, reason: string) => void

  constructor(components: {
    files: DiskFiles
    layout: StoreLayout
    index: PrimaryIndex
    packLog: PackLog
    locks: HashLocks
    metrics: StoreMetrics
    log: StoreLog
    onCorrupt: (hash: string, reason: string) => void
  }) {
    this.#files = components.files
    this.#layout = components.layout
    this.#index = components.index
    this.#packLog = components.packLog
    this.#locks = components.locks
    this.#metrics = components.metrics
    this.#log = components.log
    this.#onCorrupt = components.onCorrupt
  }

  /**
   * The copy at `bad` is not served again from here on, whether the disk takes writes or not.
   * Resolves to false when the blob is no longer there anyway: deleted, moved or repaired.
   * `bytes` is what was read of a packed blob; a loose one is moved as a file.
   */
  async take(hash: string, bad: BlobLocation, reason: string, bytes?: Buffer): Promise<boolean> {
    return this.#locks.run(hash, async () => {
      if (!sameLocation(this.#index.get(hash), bad)) return false
      await this.#assertMounted()
      this.#index.drop(hash, bad)
      this.report(hash, reason)
      try {
        await this.#keep(hash, bad, reason, bytes)
        const nothing = new Uint8Array(0)
        await this.#packLog.append({
          kind: 'tombstone',
          hash,
          value: bad.sequence,
          payload: nothing,
        })
      } catch (error) {
        this.#log.warn({ err: error, hash }, 'a bad copy could not be moved to quarantine')
      }
      return true
    })
  }

  report(hash: string, reason: string): void {
    this.#metrics.corrupt()
    this.#log.error({ hash, reason }, 'a blob copy is corrupt')
    this.#onCorrupt(hash, reason)
  }

  /** A disk that went away makes every file look missing; that is no reason to forget them. */
  async #assertMounted(): Promise<void> {
    if ((await this.#files.stat(this.#layout.formatPath)) !== undefined) return
    throw new StorageUnavailableError('The data folder is gone.')
  }

  async #keep(hash: string, bad: BlobLocation, reason: string, bytes?: Buffer): Promise<void> {
    const now = new Date()
    const path = join(this.#layout.quarantine, `${hash}.${now.getTime()}`)
    if (bad.loose) {
      const { shard, path: from } = this.#layout.loose(hash)
      if ((await this.#files.stat(from)) !== undefined) {
        await this.#files.rename(from, path)
        await this.#files.syncDirectory(shard)
      }
    } else if (bytes !== undefined) {
      await writeFile(path, bytes)
    }
    const note = { hash, reason, at: now.toISOString(), ...bad }
    await writeFile(`${path}.json`, `${JSON.stringify(note)}\n`)
    await this.#files.syncDirectory(this.#layout.quarantine)
  }
}
