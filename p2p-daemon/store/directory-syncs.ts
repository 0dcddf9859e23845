import { SYNCS_AT_ONCE_MAX } from './constants.ts'
import type { DiskFiles } from './disk-files.ts'
import { Slots } from './hash-locks.ts'

/**
 * Group commit for names: whoever waits when a round begins shares it, and each directory is
 * synced once a round. On a journaling file system the first sync of a round writes the journal
 * for all of them, so sixteen puts into sixteen directories cost little more than one.
 */
export class DirectorySyncs {
  readonly #files: DiskFiles
  readonly #slots = new Slots(SYNCS_AT_ONCE_MAX)
  #next: { paths: Set<string>; done: Promise<void> } | undefined
  #round: Promise<void> = Promise.resolve()

  constructor(components: { files: DiskFiles }) {
    this.#files = components.files
  }

  /** Names made in these directories before the call survive a power cut once this resolves. */
  sync(paths: Iterable<string>): Promise<void> {
    if (this.#next === undefined) {
      const next = { paths: new Set<string>(), done: Promise.resolve() }
      next.done = this.#round.then(() => {
        this.#next = undefined
        return this.#syncAll(next.paths)
      })
      this.#round = next.done.catch(() => undefined)
      this.#next = next
    }
    for (const path of paths) this.#next.paths.add(path)
    return this.#next.done
  }

  async #syncAll(paths: ReadonlySet<string>): Promise<void> {
    const syncs = [...paths].map((path) => this.#slots.run(() => this.#files.syncDirectory(path)))
    await Promise.all(syncs)
  }
}
