import { join } from 'node:path'

import { StorageUnavailableError } from '../../shared/errors.ts'
import { type BlobLocation, sameLocation } from './blob-location.ts'
import { type DiskFiles, writeNewFile } from './disk-files.ts'
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

  /** A loose file the index does not know. Who calls holds the lock of the hash. */
  async setAside(hash: string, reason: string): Promise<void> {
    this.#log.error({ hash, reason }, 'a blob file was set aside')
    await this.#move(hash, { hash, reason })
  }

  async #keep(hash: string, bad: BlobLocation, reason: string, bytes?: Buffer): Promise<void> {
    const note = { hash, reason, ...bad }
    if (bad.loose) await this.#move(hash, note)
    else
      await this.#note(hash, note, async (path) => {
        if (bytes !== undefined) await writeNewFile(this.#files, path, bytes)
      })
  }

  async #move(hash: string, note: object): Promise<void> {
    const { shard, path } = this.#layout.loose(hash)
    await this.#note(hash, note, async (target) => {
      if ((await this.#files.stat(path)) === undefined) return
      await this.#files.rename(path, target)
      await this.#files.syncDirectory(shard)
    })
  }

  /** The note is what people and tools find beside the bytes. */
  async #note(hash: string, note: object, save: (path: string) => Promise<void>): Promise<void> {
    const at = new Date()
    const path = join(this.#layout.quarantine, `${hash}.${at.getTime()}`)
    await save(path)
    const text = `${JSON.stringify({ ...note, at: at.toISOString() })}\n`
    await writeNewFile(this.#files, `${path}.json`, Buffer.from(text))
    await this.#files.syncDirectory(this.#layout.quarantine)
  }
}
