import { EARLY_SYNC_BYTES } from './constants.ts'
import { type DiskFile, shortWrite } from './disk-files.ts'
import type { Slots } from './hash-locks.ts'

/**
 * The file of a large put while its bytes arrive. One write is under way while the next chunk is
 * received and hashed, and from time to time a sync, when a thread is free for it: the disk works
 * while the rest arrives, instead of all at the end.
 */
export class TempFile {
  readonly #file: DiskFile
  readonly #syncs: Slots
  readonly #sync: () => Promise<void>
  #sizeBytes = 0
  #syncedBytes = 0
  #writing: Promise<void> = Promise.resolve()
  #syncing: Promise<void> | undefined
  #failure: unknown

  constructor(components: { file: DiskFile; syncs: Slots; sync: () => Promise<void> }) {
    this.#file = components.file
    this.#syncs = components.syncs
    this.#sync = components.sync
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** Resolves when the write before is done; `chunk` must stay as it is until then. */
  async write(chunk: Uint8Array): Promise<void> {
    await this.#writing
    if (this.#failure !== undefined) throw this.#failure
    const position = this.#sizeBytes
    this.#sizeBytes += chunk.byteLength
    this.#writing = this.#write(chunk, position)
    if (position - this.#syncedBytes >= EARLY_SYNC_BYTES) this.#syncEarly(position)
  }

  /** Everything is on the disk. */
  async finish(): Promise<void> {
    await this.#writing
    await this.#syncing
    // A sync that failed once proves nothing when it is asked again: the put fails.
    if (this.#failure !== undefined) throw this.#failure
    await this.#syncs.run(this.#sync)
  }

  async close(): Promise<void> {
    await this.#writing
    await this.#syncing
    await this.#file.close().catch(() => undefined)
  }

  /** Never rejects. */
  async #write(chunk: Uint8Array, position: number): Promise<void> {
    try {
      const written = await this.#file.write([chunk], position)
      if (written !== chunk.byteLength) throw shortWrite(written)
    } catch (error) {
      this.#failure ??= error
    }
  }

  #syncEarly(upTo: number): void {
    if (this.#syncing !== undefined) return
    this.#syncing = this.#syncs
      .runIfFree(this.#sync)
      ?.then(
        () => {
          this.#syncedBytes = upTo
        },
        (error: unknown) => {
          this.#failure ??= error
        },
      )
      .finally(() => {
        this.#syncing = undefined
      })
  }
}
