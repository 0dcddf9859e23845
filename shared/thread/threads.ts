import { LRUCache } from 'lru-cache'

import { parseAddress, recordName } from '../address/address.ts'
import { parsePattern } from '../address/pattern.ts'
import { BATCH_BLOB_BYTES_MAX, splitBatches } from '../blob/batch.ts'
import type { CallOptions } from '../daemon/daemon-client.ts'
import type { BzzzDatabase } from '../db/database.ts'
import {
  BlobNotFoundError,
  InvalidAddressError,
  InvalidRequestError,
  RemoteError,
  ThreadExistsError,
} from '../errors.ts'
import { parseWith } from '../http/parse.ts'
import { PAGE_SIZE_DEFAULT } from '../limits.ts'
import type { Appended } from './append-queue.ts'
import { CatchUp, isConflict } from './catch-up.ts'
import {
  APPEND_MESSAGES_MAX,
  COMMIT_BYTES_MAX,
  FORK_DEPTH_MAX,
  QUERY_CHARS_MAX,
  THREADS_KNOWN_MAX,
} from './constants.ts'
import { exportThread, type ExportFormat, type ExportSource } from './export.ts'
import { headHash, THREAD_MEDIA_TYPE, titleSchema } from './head.ts'
import { isCanonicalTime, keySchema, projectOf } from './message.ts'
import { prepareMessage, type NewMessage, type PreparedMessage } from './new-message.ts'
import { firstVersion, type NewHead } from './new-version.ts'
import {
  reindexThreads,
  type Reindexed,
  type ReindexComponents,
  type ReindexOptions,
} from './reindex.ts'
import { ThreadBlobs, type ThreadDaemon } from './thread-blobs.ts'
import { ThreadIndex, type IndexedThread } from './thread-index.ts'
import { ThreadQuery, type MessagePage, type Stretch, type ThreadPage } from './thread-query.ts'
import { ThreadWriter } from './thread-writer.ts'
import { Verification, type VerifyOptions, type VerifyReport } from './verify.ts'

export interface ThreadsComponents {
  daemon: ThreadDaemon
  db: BzzzDatabase
}

/** Who does it: the token goes to the daemon, the author into the messages. */
export interface AuthorOptions extends CallOptions {
  author: string
}

export interface AppendOptions extends AuthorOptions {
  /** Makes a thread that does not exist. */
  create?: boolean
  /** Sizes of blobs that the caller has just retained: that is not done again. */
  sizes?: ReadonlyMap<string, number>
}

export interface NewThread {
  address: string
  title?: string
  /** A second creation with the same key is the first one. */
  key?: string
  /** For imports: when it was created in truth. */
  createdAt?: string
  /** What it begins with, in its first version; nothing is added to a thread that is there. */
  messages?: readonly NewMessage[]
}

export interface NewFork {
  from: string
  to: string
  /** The last message that the fork shares; absent: the last there is. */
  at?: string
  title?: string
  key?: string
}

/**
 * Conversations: hash-linked messages in blobs, named by an address, with an index in Postgres.
 *
 *     const threads = new Threads({ daemon, db })
 *     await threads.create({ address }, { token, author })
 *     await threads.append(address, [{ role: 'user', content: 'hello' }], { token, author })
 *     const { messages, next } = await threads.read(address, {}, { token })
 *
 * docs/THREADS.md says what is durable when.
 */
export class Threads {
  readonly #daemon: ThreadDaemon
  readonly #blobs: ThreadBlobs
  readonly #index: ThreadIndex
  readonly #query: ThreadQuery
  readonly #catchUp: CatchUp
  readonly #writers = new LRUCache<string, ThreadWriter>({ max: THREADS_KNOWN_MAX })

  constructor({ daemon, db }: ThreadsComponents) {
    this.#daemon = daemon
    this.#blobs = new ThreadBlobs({ daemon })
    this.#index = new ThreadIndex({ db })
    this.#query = new ThreadQuery({ db })
    this.#catchUp = new CatchUp({ daemon, blobs: this.#blobs, index: this.#index })
  }

  /** Whether the index answers. */
  isReady(): Promise<boolean> {
    return this.#index.isReady()
  }

  /** @throws ThreadExistsError unless it was made with the same key, NotAThreadError */
  async create(
    { address, title, key, createdAt = new Date().toISOString(), messages = [] }: NewThread,
    options: AppendOptions,
  ): Promise<{ thread: IndexedThread; created: boolean }> {
    if (!isCanonicalTime(createdAt)) throw new InvalidRequestError('createdAt is no ISO time.')
    const keys = messages.flatMap((message) => message.key ?? [])
    if (new Set(keys).size < keys.length) {
      throw new InvalidRequestError('A thread begins with every key once.')
    }
    const head = {
      thread: threadName(address),
      ...(title !== undefined && { title: parseWith(titleSchema, title) }),
      ...{ createdBy: options.author, createdAt },
      ...(key !== undefined && { key: parseWith(keySchema, key) }),
    }
    const { prepared } = await this.#prepare(messages, options)
    return this.#begin(head, prepared, options)
  }

  /** A thread as it stands. @throws RemoteError (BZZZ_ADDRESS_NOT_FOUND), NotAThreadError */
  async find(address: string, options: CallOptions): Promise<IndexedThread> {
    const name = threadName(address)
    return (await this.#index.find(name)) ?? (await this.#catchUp.bring(name, options)).thread
  }

  /**
   * Appends messages, all or none, one behind the other. When this resolves a quorum of nodes has
   * them on disk and the thread's address leads to them. With `create` a thread that does not exist
   * is made first.
   * @throws IdempotencyMismatchError, BlobNotFoundError, OverloadedError, InvalidRequestError
   * @throws RemoteError, DaemonUnavailableError, DatabaseUnavailableError: whether the messages are
   * in the thread is then open; with keys the same call may be repeated
   */
  async append(
    address: string,
    messages: readonly NewMessage[],
    options: AppendOptions,
  ): Promise<Appended> {
    const name = threadName(address)
    if (messages.length === 0) throw new InvalidRequestError('Append at least one message.')
    const { prepared, bytes } = await this.#prepare(messages, options)
    const { token, signal } = options
    const call = { messages: prepared, bytes, token, signal }
    try {
      return await this.#writer(name).append(call)
    } catch (error) {
      if (!options.create || !isMissing(error)) throw error
      await this.create({ address }, options).catch((other: unknown) => {
        if (!(other instanceof ThreadExistsError)) throw other
      })
      return this.#writer(name).append(call)
    }
  }

  /** Messages in the order of the thread, those before a fork included. */
  async read(
    address: string,
    query: { after?: string; limit?: number; order?: 'asc' | 'desc' },
    options: CallOptions,
  ): Promise<MessagePage & { thread: IndexedThread }> {
    const thread = await this.find(address, options)
    const { after, limit = PAGE_SIZE_DEFAULT, order = 'asc' } = query
    const stretches = await this.#stretches(thread, options)
    return { thread, ...(await this.#query.page(stretches, { after, limit, order })) }
  }

  /** Threads in the projects of a token, the one written to last first. */
  list(query: {
    projects: readonly string[]
    pattern?: string
    after?: string
    limit?: number
  }): Promise<ThreadPage> {
    const { projects, after, limit = PAGE_SIZE_DEFAULT } = query
    const pattern = query.pattern === undefined ? undefined : parsePattern(query.pattern)
    return this.#query.list({ projects, pattern, after, limit })
  }

  /** Messages with all these words, "phrases" and without -those, the newest first. */
  search(query: {
    text: string
    projects: readonly string[]
    address?: string
    pattern?: string
    after?: string
    limit?: number
  }): Promise<MessagePage> {
    const { text, projects, after, limit = PAGE_SIZE_DEFAULT } = query
    if (text.length > QUERY_CHARS_MAX) throw new InvalidRequestError('The question is too long.')
    const pattern = query.pattern === undefined ? undefined : parsePattern(query.pattern)
    const address = query.address === undefined ? undefined : threadName(query.address)
    const words = text.replaceAll('\0', ' ').toWellFormed()
    return this.#query.search({ text: words, projects, address, pattern, after, limit })
  }

  /** A new thread that begins with what another one has, up to a message. */
  async fork(
    { from, to, at, title, key }: NewFork,
    options: AuthorOptions,
  ): Promise<{ thread: IndexedThread; created: boolean }> {
    const source = await this.find(from, options)
    const stretches = await this.#stretches(source, options)
    if (stretches.length > FORK_DEPTH_MAX) {
      throw new InvalidRequestError(`Forks of forks go ${FORK_DEPTH_MAX} deep.`)
    }
    const message = at === undefined ? undefined : await this.#query.message(stretches, at)
    if (at !== undefined && !message)
      throw new BlobNotFoundError(`The thread has no message ${at}.`)
    const point = message
      ? { thread: message.thread, messages: [message.hash], seq: message.seq }
      : { thread: source.address, messages: [...source.frontier.ends], seq: source.frontier.seq }
    return this.#begin(
      {
        thread: threadName(to),
        ...(title !== undefined && { title: parseWith(titleSchema, title) }),
        ...{ createdBy: options.author, createdAt: new Date().toISOString() },
        ...(key !== undefined && { key: parseWith(keySchema, key) }),
        from: point,
      },
      [],
      options,
    )
  }

  /** Walks a thread in its blobs, and says what is not as it was written. */
  verify(address: string, options: VerifyOptions): Promise<VerifyReport> {
    const components = {
      daemon: this.#daemon,
      blobs: this.#blobs,
      index: this.#index,
      query: this.#query,
    }
    return new Verification(components, threadName(address), options).run()
  }

  /** A thread as one text, in parts. What cannot be exported at all is thrown before the first. */
  async export(
    address: string,
    format: ExportFormat,
    options: CallOptions,
  ): Promise<AsyncGenerator<string>> {
    const thread = await this.find(address, options)
    const stretches = await this.#stretches(thread, options)
    const source: ExportSource = {
      page: (query) => this.#query.page(stretches, { ...query, order: 'asc' }),
      content: (hash, more) => this.#blobs.content(hash, more),
    }
    return exportThread(thread, source, format, options)
  }

  /** Reads every thread into the index; see `reindexThreads`. */
  reindex(daemon: ReindexComponents['daemon'], options: ReindexOptions): Promise<Reindexed> {
    return reindexThreads({ daemon, index: this.#index, catchUp: this.#catchUp }, options)
  }

  /** Writes version 1 of a thread. A crash before the index has it leaves that to the next call. */
  async #begin(
    named: NewHead,
    prepared: readonly PreparedMessage[],
    options: CallOptions,
  ): Promise<{ thread: IndexedThread; created: boolean }> {
    const { thread: address, key } = named
    const { head, blobs, messages } = firstVersion(named, prepared)
    const project = projectOf(address)
    for (const batch of splitBatches(blobs)) {
      await this.#daemon.putBlobs(batch, { ...options, project })
    }
    const write = { hash: headHash(head), mediaType: THREAD_MEDIA_TYPE, ifVersion: 0 }
    try {
      const { record: written } = await this.#daemon.putAddress(address, write, options)
      const { record, version, timestamp } = written
      const added = { record, version, timestamp, head, messages }
      const begun = head.from ? undefined : await this.#index.begin(address, added)
      const thread = begun ?? (await this.#index.apply(address, [added]))
      return { thread: thread!, created: true }
    } catch (error) {
      if (!isConflict(error)) throw error
      const { thread } = await this.#catchUp.bring(address, options)
      const isOwn =
        key === undefined
          ? thread.createdAt === head.createdAt && thread.createdBy === head.createdBy
          : thread.key === key
      if (!isOwn) throw new ThreadExistsError(`There is a thread under ${address} already.`)
      return { thread, created: false }
    }
  }

  /** What one version may bring. @throws InvalidRequestError */
  async #prepare(
    messages: readonly NewMessage[],
    options: AppendOptions,
  ): Promise<{ prepared: PreparedMessage[]; bytes: number }> {
    if (messages.length > APPEND_MESSAGES_MAX) {
      throw new InvalidRequestError(`Append at most ${APPEND_MESSAGES_MAX} messages at a time.`)
    }
    const { author } = options
    const createdAt = new Date().toISOString()
    const sizes = await this.#retain(messages, options)
    const prepared = messages.map((given) => {
      const contentBytes = sizes.get(given.contentHash ?? '') ?? 0
      return prepareMessage(given, { author, createdAt, contentBytes })
    })
    for (const message of prepared) {
      const { content } = message
      if (content === undefined || content.length <= BATCH_BLOB_BYTES_MAX) continue
      await this.#daemon.putBlob(once(content), { ...options, sizeBytes: content.length })
      message.isStored = true
    }
    const bytes = prepared.reduce(
      (sum, { content, searched, isStored }) =>
        sum + searched.length + (isStored ? 0 : (content?.length ?? 0)),
      0,
    )
    if (bytes > COMMIT_BYTES_MAX) {
      throw new InvalidRequestError(`Append at most ${COMMIT_BYTES_MAX} bytes at a time.`)
    }
    return { prepared, bytes }
  }

  /** Sizes of the blobs that messages name, which from now on are kept until they do. */
  async #retain(
    messages: readonly NewMessage[],
    { sizes: known, ...options }: AppendOptions,
  ): Promise<ReadonlyMap<string, number>> {
    const found = new Map(known)
    const named = new Set(messages.flatMap(({ contentHash }) => contentHash ?? []))
    const hashes = [...named].filter((hash) => !found.has(hash))
    const sizes = hashes.length === 0 ? [] : await this.#daemon.retain(hashes, options)
    for (const [index, hash] of hashes.entries()) {
      const size = sizes[index]
      if (typeof size === 'number') found.set(hash, size)
      else throw new BlobNotFoundError(`Store ${hash} before a message names it.`)
    }
    return found
  }

  /** Where the messages of a thread lie in the index, the oldest first. */
  async #stretches(thread: IndexedThread, options: CallOptions): Promise<Stretch[]> {
    const stretches: Stretch[] = [{ threadId: thread.id, upTo: null }]
    let { from } = thread
    for (let depth = 0; from && depth <= FORK_DEPTH_MAX; depth += 1) {
      const origin: IndexedThread = await this.find(from.thread, options)
      if (!(await this.#query.isForkPoint(origin.id, from))) break
      stretches.unshift({ threadId: origin.id, upTo: from.seq })
      from = origin.from
    }
    return stretches
  }

  #writer(address: string): ThreadWriter {
    const known = this.#writers.get(address)
    if (known) return known
    const components = { daemon: this.#daemon, index: this.#index, catchUp: this.#catchUp }
    const writer = new ThreadWriter(components, { address })
    this.#writers.set(address, writer)
    return writer
  }
}

/** The canonical text of a thread's address. @throws InvalidAddressError */
export function threadName(address: string): string {
  const parsed = parseAddress(address)
  if (parsed.kind !== 'semantic') {
    throw new InvalidAddressError('A thread has a semantic address, no content address.')
  }
  return recordName(parsed)
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

function isMissing(error: unknown): boolean {
  return error instanceof RemoteError && error.code === 'BZZZ_ADDRESS_NOT_FOUND'
}
