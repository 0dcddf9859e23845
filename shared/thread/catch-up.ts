import type { CallOptions } from '../daemon/daemon-client.ts'
import { NotAThreadError, RemoteError } from '../errors.ts'
import type { RecordJSON } from '../record/record.ts'
import { concurrently } from './concurrently.ts'
import { COMMIT_ATTEMPTS_MAX, VERSIONS_AT_ONCE } from './constants.ts'
import { THREAD_MEDIA_TYPE } from './head.ts'
import { parentsOf, versionsOf } from './history.ts'
import type { ReadOptions, ThreadBlobs, ThreadDaemon } from './thread-blobs.ts'
import type { IndexedThread, ThreadIndex } from './thread-index.ts'

export interface CatchUpComponents {
  daemon: Pick<ThreadDaemon, 'resolve' | 'history' | 'merge'>
  blobs: ThreadBlobs
  index: ThreadIndex
}

/** A thread as its index has it, and the version of its address, on which the next one is built. */
export interface CaughtUp {
  thread: IndexedThread
  /** Higher than that of the thread where something else was written to its address. */
  version: number
  /** Ends of the address beside its head: more than 0 after a partition. */
  forks: number
}

export interface CatchUpOptions extends ReadOptions {
  /** Ask the holders of the address, whatever the daemon knows of it. */
  fresh?: boolean
  /** Look at every version, also where the index seems to have all. */
  whole?: boolean
  /** Told of every version that was looked at, and how many there are. */
  onVersions?: (done: number, of: number) => void
}

/** Brings the index of a thread to where its address is, from the blobs. */
export class CatchUp {
  readonly #components: CatchUpComponents

  constructor(components: CatchUpComponents) {
    this.#components = components
  }

  /** @throws RemoteError (BZZZ_ADDRESS_NOT_FOUND), NotAThreadError */
  async bring(address: string, options: CatchUpOptions): Promise<CaughtUp> {
    const { index } = this.#components
    const { record, forks } = await this.#components.daemon.resolve(address, options)
    let thread = await index.find(address)
    const isBehind = thread?.record !== record.record
    // An answer from before what the index has already is no news.
    const isOld = thread !== undefined && thread.version > record.version
    const isWhole = forks > 0 || options.whole === true
    if (isWhole || (isBehind && !isOld)) {
      const since = isWhole ? 0 : (thread?.version ?? 0)
      thread = await this.#takeIn(address, record, since, options)
    }
    if (!thread) throw new NotAThreadError(`What stands under ${address} is no thread.`)
    return { thread, version: Math.max(record.version, thread.version), forks }
  }

  /**
   * Makes the ends of a partition one: the ends are parents of the next message anyway, so which
   * of the records stands does not matter.
   */
  async settle(address: string, options: CallOptions): Promise<void> {
    const { daemon } = this.#components
    for (let attempt = 0; attempt < COMMIT_ATTEMPTS_MAX; attempt += 1) {
      const { record, forks } = await daemon.resolve(address, { ...options, fresh: true })
      if (forks === 0) return
      const pick = { pick: record.record, ifVersion: record.version }
      try {
        await daemon.merge(address, pick, options)
      } catch (error) {
        // Somebody else did so, or wrote meanwhile.
        if (!isConflict(error)) throw error
      }
    }
  }

  async #takeIn(
    address: string,
    head: RecordJSON,
    since: number,
    options: CatchUpOptions,
  ): Promise<IndexedThread | undefined> {
    const whole = await this.#range(address, { from: since, to: head }, options)
    // What follows on something that is not in the index is a chain the index does not know.
    if (!whole) await this.#range(address, { from: 0, to: head }, options)
    return this.#components.index.find(address)
  }

  /** Takes versions in, the oldest first. False: one of them follows on one that is not there. */
  async #range(
    address: string,
    { from, to }: { from: number; to: RecordJSON },
    options: CatchUpOptions,
  ): Promise<boolean> {
    const { daemon, index, blobs } = this.#components
    const seen = new Set<string>()
    let isWhole = true
    const range = { from, to: to.version }
    for await (const { records, upTo } of versionsOf(daemon, address, range, options)) {
      const known = await index.knownVersions([
        ...records.map(({ record }) => record),
        ...records.flatMap(parentsOf),
      ])
      for (const record of records) {
        isWhole &&= parentsOf(record).every((parent) => known.has(parent) || seen.has(parent))
        seen.add(record.record)
      }
      const isNews = ({ record, mediaType }: RecordJSON): boolean =>
        mediaType === THREAD_MEDIA_TYPE && !known.has(record)
      const news = records.filter(isNews)
      for (let at = 0; at < news.length; at += VERSIONS_AT_ONCE) {
        options.signal?.throwIfAborted()
        const some = news.slice(at, at + VERSIONS_AT_ONCE)
        const read = (record: RecordJSON) => blobs.version(record, options)
        const versions = await concurrently(some, VERSIONS_AT_ONCE, read)
        await index.apply(
          address,
          versions.filter((version) => version !== undefined),
        )
      }
      options.onVersions?.(upTo, to.version)
    }
    return isWhole || from === 0
  }
}

export function isConflict(error: unknown): error is RemoteError {
  const codes = ['BZZZ_VERSION_CONFLICT', 'BZZZ_ADDRESS_NOT_FORKED']
  return error instanceof RemoteError && codes.includes(error.code)
}
