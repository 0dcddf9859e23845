import type { CallOptions } from '../daemon/daemon-client.ts'
import { fromRecordJSON, recordHash, verifyRecord, type RecordJSON } from '../record/record.ts'
import { concurrently } from './concurrently.ts'
import { BLOBS_READ_AT_ONCE_MAX, PROBLEMS_MAX } from './constants.ts'
import { frontierAfter, type Frontier } from './dag.ts'
import { THREAD_MEDIA_TYPE, type ForkPoint } from './head.ts'
import { parentsOf, versionsOf } from './history.ts'
import { encodeMessage, type ThreadMessage } from './message.ts'
import { isDamage, type ThreadBlobs, type ThreadDaemon } from './thread-blobs.ts'
import type { ThreadIndex } from './thread-index.ts'
import type { ThreadQuery } from './thread-query.ts'

export interface VerifyComponents {
  daemon: Pick<ThreadDaemon, 'resolve' | 'history'>
  blobs: ThreadBlobs
  index: Pick<ThreadIndex, 'find'>
  query: Pick<ThreadQuery, 'bodies'>
}

/** Something that is not as it was written. */
export interface Problem {
  what: 'record' | 'head' | 'message' | 'content' | 'index'
  hash: string
  /** Of the address; in it the thing was added. */
  version: number
  reason: string
}

export interface VerifyReport {
  address: string
  whole: boolean
  versions: number
  messages: number
  contents: number
  /** Messages that no other one follows. */
  ends: string[]
  /** What was there before; verify that thread, too. */
  from: ForkPoint | null
  /** The first of them. */
  problems: Problem[]
}

export interface VerifyOptions extends CallOptions {
  /** Versions looked at, of how many. */
  onProgress?: ((done: number, of: number) => void) | undefined
}

/**
 * Walks a thread from its first version to its head: the signature and the predecessor of every
 * record, the hash and the encoding of every blob, the place of every message behind its parents,
 * and whether the index says the same.
 */
export class Verification {
  readonly #components: VerifyComponents
  readonly #address: string
  readonly #options: VerifyOptions
  readonly #records = new Set<string>()
  readonly #heads = new Set<string>()
  /** Messages that were found good, and those that the fork begins with. */
  readonly #seqs = new Map<string, number>()
  readonly #report: VerifyReport
  #frontier: Frontier = { ends: [], seq: 0 }

  constructor(components: VerifyComponents, address: string, options: VerifyOptions) {
    this.#components = components
    this.#address = address
    this.#options = options
    this.#report = {
      address,
      whole: true,
      versions: 0,
      messages: 0,
      contents: 0,
      ends: [],
      from: null,
      problems: [],
    }
  }

  async run(): Promise<VerifyReport> {
    const { daemon } = this.#components
    const { record: newest } = await daemon.resolve(this.#address, {
      ...this.#options,
      fresh: true,
    })
    const range = { from: 0, to: newest.version }
    for await (const { records, upTo } of versionsOf(daemon, this.#address, range, this.#options)) {
      for (const record of records) await this.#version(record)
      this.#options.onProgress?.(upTo, newest.version)
    }
    await this.#index(newest.version)
    this.#report.ends = [...this.#frontier.ends]
    return this.#report
  }

  async #version(record: RecordJSON): Promise<void> {
    this.#options.signal?.throwIfAborted()
    this.#record(record)
    if (record.mediaType !== THREAD_MEDIA_TYPE) return
    const { version } = record
    this.#report.versions += 1
    // A version that settles a fork names the head of one of its sides again.
    if (this.#heads.has(record.hash)) return
    this.#heads.add(record.hash)
    const head = await this.#sound('head', record.hash, version, (hash) =>
      this.#components.blobs.head(hash, this.#options),
    )
    if (!head) return
    if (head.thread !== this.#address) {
      this.#problem('head', record.hash, version, `it is of ${head.thread}`)
    }
    if (head.from && !this.#report.from) await this.#fork(head.from, version)
    const messages = await concurrently(head.added, BLOBS_READ_AT_ONCE_MAX, async (hash) => ({
      hash,
      message: await this.#message(hash, version),
    }))
    const good = messages.flatMap(({ hash, message }) => (message ? [{ hash, message }] : []))
    for (const { hash, message } of good) this.#place(hash, message, version)
    const links = good.map(({ hash, message: { seq, parents } }) => ({ hash, seq, parents }))
    this.#frontier = frontierAfter(this.#frontier, links)
    await this.#indexed(good, version)
  }

  #record(record: RecordJSON): void {
    const { version } = record
    try {
      const signed = fromRecordJSON(record)
      verifyRecord(signed)
      const hash = recordHash(signed)
      if (hash !== record.record) this.#problem('record', record.record, version, `it is ${hash}`)
      if (signed.address !== this.#address) {
        this.#problem('record', hash, version, `it is of ${signed.address}`)
      }
    } catch (error) {
      this.#problem('record', record.record, version, reasonOf(error))
    }
    const missing = parentsOf(record).find((parent) => !this.#records.has(parent))
    if (missing) this.#problem('record', record.record, version, `${missing} before it is missing`)
    this.#records.add(record.record)
  }

  async #fork(from: ForkPoint, version: number): Promise<void> {
    this.#report.from = from
    this.#frontier = { ends: from.messages, seq: from.seq }
    for (const hash of from.messages) {
      const message = await this.#sound('message', hash, version, (each) =>
        this.#components.blobs.message(each, this.#options),
      )
      if (message) this.#seqs.set(hash, message.seq)
    }
  }

  async #message(hash: string, version: number): Promise<ThreadMessage | undefined> {
    const { blobs } = this.#components
    const message = await this.#sound('message', hash, version, (each) =>
      blobs.message(each, this.#options),
    )
    if (!message) return undefined
    this.#report.messages += 1
    if (message.contentHash !== undefined) {
      this.#report.contents += 1
      const size = await this.#sound('content', message.contentHash, version, (each) =>
        blobs.checkContent(each, this.#options),
      )
      if (size !== undefined && size !== message.contentBytes) {
        this.#problem('content', message.contentHash, version, `it has ${size} bytes`)
      }
    }
    return message
  }

  #place(hash: string, { thread, seq, parents }: ThreadMessage, version: number): void {
    if (thread !== this.#address) this.#problem('message', hash, version, `it is of ${thread}`)
    const missing = parents.find((parent) => !this.#seqs.has(parent))
    if (missing) this.#problem('message', hash, version, `${missing} before it is missing`)
    const expected = 1 + Math.max(0, ...parents.map((parent) => this.#seqs.get(parent) ?? 0))
    if (!missing && seq !== expected) {
      this.#problem('message', hash, version, `its seq is ${seq}, not ${expected}`)
    }
    this.#seqs.set(hash, seq)
  }

  /** Whether the index has the same text for these messages. */
  async #indexed(
    messages: readonly { hash: string; message: ThreadMessage }[],
    version: number,
  ): Promise<void> {
    const places = messages.map(({ hash, message: { seq } }) => ({ hash, seq }))
    const bodies = await this.#components.query.bodies(this.#address, places)
    for (const { hash, message } of messages) {
      const body = bodies.get(hash)
      if (body === undefined) this.#problem('index', hash, version, 'it is not in the index')
      else if (body !== encodeMessage(message).toString()) {
        this.#problem('index', hash, version, 'the index has another text')
      }
    }
  }

  async #index(version: number): Promise<void> {
    const thread = await this.#components.index.find(this.#address)
    if (!thread) return this.#problem('index', '', version, 'the thread is not in the index')
    // Somebody may have written since the walk began.
    if (thread.version !== version) return
    const { ends, seq } = thread.frontier
    const same = seq === this.#frontier.seq && ends.join() === this.#frontier.ends.join()
    if (!same || thread.messages !== this.#report.messages) {
      this.#problem('index', '', version, 'the index has another end or number of messages')
    }
  }

  /** Reads something, or notes what is wrong with it. */
  async #sound<T>(
    what: Problem['what'],
    hash: string,
    version: number,
    read: (hash: string) => Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await read(hash)
    } catch (error) {
      if (!isDamage(error)) throw error
      this.#problem(what, hash, version, reasonOf(error))
      return undefined
    }
  }

  #problem(what: Problem['what'], hash: string, version: number, reason: string): void {
    this.#report.whole = false
    if (this.#report.problems.length < PROBLEMS_MAX) {
      this.#report.problems.push({ what, hash, version, reason })
    }
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/\.$/, '') : 'it cannot be read'
}
