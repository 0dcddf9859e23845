import type { CallOptions, DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { BlobNotFoundError } from '../../shared/errors.ts'
import type { NewMessage } from '../../shared/thread/new-message.ts'
import type { Threads } from '../../shared/thread/threads.ts'
import { timeOf } from '../../shared/v1/chunk.ts'
import { APPEND_ENTRIES, THREADS_AT_ONCE_MAX } from './constants.ts'
import type { EntryStore, IndexedEntry, ThreadCursor } from './entry-store.ts'
import type { ImportStore } from './import-store.ts'
import type { ThreadRow, ThreadStore } from './thread-store.ts'

/** Of the messages that link to entries of v1: what the linked bytes are. */
export const ENTRY_MEDIA_TYPE = 'application/vnd.bzzz.v1-entry+json'

/** Who makes the threads; their messages say who wrote them in v1. */
const AUTHOR = 'v1'

export interface ThreadStepComponents {
  daemon: Pick<DaemonClient, 'retain'>
  threads: Pick<Threads, 'create' | 'append'>
  imports: Pick<ImportStore, 'get'>
  entries: Pick<EntryStore, 'ofThread' | 'blobsOfMessages'>
  conversations: Pick<ThreadStore, 'get' | 'isDone' | 'setDone'>
}

/**
 * Turns conversations into threads. It runs when all entries of the import are indexed, so the
 * order of the messages does not depend on which chunk came first. Every message has the hash of
 * its entry as its key: a step that runs again, or for another import, adds nothing twice.
 */
export class ThreadStep {
  readonly #components: ThreadStepComponents

  constructor(components: ThreadStepComponents) {
    this.#components = components
  }

  async run(id: string, keys: readonly string[], options: CallOptions): Promise<void> {
    const { hosts } = await this.#components.imports.get(id)
    const rest = [...keys]
    const work = async () => {
      for (let key = rest.shift(); key !== undefined; key = rest.shift()) {
        if (await this.#components.conversations.isDone(id, key)) continue
        await this.#build(await this.#components.conversations.get(key), hosts, options)
        await this.#components.conversations.setDone(id, key)
      }
    }
    await Promise.all(Array.from({ length: THREADS_AT_ONCE_MAX }, work))
  }

  async #build(
    thread: ThreadRow,
    hosts: Readonly<Record<string, string>>,
    options: CallOptions,
  ): Promise<void> {
    const { threads, entries: store } = this.#components
    const { address, title, key } = thread
    const as = { ...options, author: AUTHOR }
    let cursor: ThreadCursor | null = null
    for (;;) {
      options.signal?.throwIfAborted()
      const entries: IndexedEntry[] = await store.ofThread(key, cursor, APPEND_ENTRIES)
      const [first] = entries
      if (!first) return
      const parents = entries.flatMap(({ parentId }) => parentId ?? [])
      const blobs = await store.blobsOfMessages([...new Set(parents)])
      const messages = entries.map((entry) => toMessage(entry, hosts, blobs))
      const more = { ...as, sizes: await this.#retain(entries, options) }
      const isNew = cursor === null && !thread.isCreated
      const named = { address, title, key: `v1 ${key}`, createdAt: isoTime(first) }
      const isBegun = isNew && (await threads.create({ ...named, messages }, more)).created
      if (!isBegun) await threads.append(address, messages, more)
      cursor = entries.at(-1)!
      if (entries.length < APPEND_ENTRIES) return
    }
  }

  /** Days may lie between a chunk and its threads, and what nobody names is collected. */
  async #retain(
    entries: readonly IndexedEntry[],
    options: CallOptions,
  ): Promise<Map<string, number>> {
    const hashes = entries.map(({ blob }) => blob)
    const sizes = await this.#components.daemon.retain(hashes, options)
    const known = hashes.map((hash, index): [string, number] => {
      const size = sizes[index]
      if (typeof size !== 'number') throw new BlobNotFoundError(`The blob ${hash} is gone.`)
      return [hash, size]
    })
    return new Map(known)
  }
}

function toMessage(
  entry: IndexedEntry,
  hosts: Readonly<Record<string, string>>,
  blobs: ReadonlyMap<string, string>,
): NewMessage {
  const answered = entry.parentId === null ? undefined : blobs.get(entry.parentId)
  return {
    role: 'event',
    author: Object.hasOwn(hosts, entry.author) ? hosts[entry.author]! : entry.author,
    contentHash: entry.blob,
    mediaType: ENTRY_MEDIA_TYPE,
    createdAt: isoTime(entry),
    refs: answered === undefined ? [] : [`bzzz://b3/${answered}`],
    key: `v1 ${entry.hash}`,
  }
}

/** To the millisecond, in UTC; the entry itself has the nanoseconds and the offset. */
function isoTime({ writtenAt }: IndexedEntry): string {
  return new Date(timeOf({ timestamp: writtenAt })).toISOString()
}
