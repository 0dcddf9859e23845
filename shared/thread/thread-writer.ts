import { splitBatches } from '../blob/batch.ts'
import { OverloadedError, RemoteError } from '../errors.ts'
import type { RecordJSON } from '../record/record.ts'
import { itemsOf, planAppend, type AppendPlan } from './append-plan.ts'
import { AppendQueue, type Appended, type WaitingAppend } from './append-queue.ts'
import { isConflict, type CatchUp, type CaughtUp } from './catch-up.ts'
import {
  COMMIT_ATTEMPTS_MAX,
  COMMIT_TIMEOUT_MS,
  GATHER_CALLS_MAX,
  GATHER_MS_MAX,
  HEAD_FRESH_MS,
} from './constants.ts'
import { placeMessages, type PlacedMessage } from './dag.ts'
import { headHash, THREAD_MEDIA_TYPE } from './head.ts'
import { projectOf } from './message.ts'
import { newVersion, type NewHead, type NewVersion } from './new-version.ts'
import type { ThreadDaemon } from './thread-blobs.ts'
import type { IndexedThread, KnownKey, ThreadIndex, ThreadVersion } from './thread-index.ts'

export interface ThreadWriterComponents {
  daemon: Pick<ThreadDaemon, 'putBlobs' | 'putNamed' | 'putAddress'>
  index: ThreadIndex
  catchUp: CatchUp
}

/** Where the thread ends, as far as this writer knows. */
interface Known extends CaughtUp {
  atMs: number
}

/** New messages that are on the disks of a quorum, and what they follow. */
interface Committed {
  plan: AppendPlan
  placed: readonly PlacedMessage[]
  base: Known
  thread: IndexedThread
  /** Absent where nothing had to be written. */
  version: ThreadVersion | undefined
}

interface Options {
  token: string
  signal: AbortSignal
}

/**
 * Appends to one thread. Calls that come while a version is written make the next version
 * together: one batch of blobs, one record, one transaction of the index. With the record the
 * messages are in the thread; the index follows before anybody is answered, and the next version
 * is on its way meanwhile.
 *
 * Writers elsewhere race for the version of the address. Who loses puts its messages behind those
 * of the winner and tries again, so nothing is lost and the thread stays one chain. A crash leaves
 * blobs that nothing names, or a version that the index lacks: whoever is next takes it in.
 */
export class ThreadWriter {
  readonly #components: ThreadWriterComponents
  readonly #address: string
  readonly #queue = new AppendQueue()
  /** Keys of messages that are in the thread and perhaps not in the index, with their version. */
  readonly #unindexed = new Map<string, KnownKey & { version: number }>()
  #known: Known | undefined
  #indexing: Promise<void> = Promise.resolve()
  #isRunning = false
  #onCall: () => void = () => undefined

  constructor(components: ThreadWriterComponents, init: { address: string }) {
    this.#components = components
    this.#address = init.address
  }

  append(call: Omit<WaitingAppend, 'resolve' | 'reject'>): Promise<Appended> {
    return new Promise((resolve, reject) => {
      this.#queue.add({ ...call, resolve, reject })
      this.#onCall()
      if (!this.#isRunning) void this.#run()
    })
  }

  /** Never rejects: whatever fails, fails for those who wait. */
  async #run(): Promise<void> {
    this.#isRunning = true
    // Those that come in the same turn go together.
    await Promise.resolve()
    while (this.#queue.length > 0) {
      const calls = this.#queue.take()
      if (calls.length > 0) await this.#commit(calls)
      const writers = calls.length + this.#queue.length
      if (this.#queue.length >= GATHER_CALLS_MAX) continue
      // Who is answered by the index transaction soon has more to say, and that goes together with
      // what waits already: a version costs the same for one message and for many.
      await this.#indexing
      if (writers > 1) await this.#gather(writers)
    }
    this.#isRunning = false
  }

  /** Waits a moment for all who write here now: who was answered together comes back one by one. */
  async #gather(writers: number): Promise<void> {
    if (this.#queue.length >= writers) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, GATHER_MS_MAX)
    this.#onCall = () => {
      if (this.#queue.length >= writers) resolve()
    }
    await promise
    clearTimeout(timer)
    this.#onCall = () => undefined
  }

  /** Sees to it that everybody is answered, whatever happens. */
  async #commit(calls: readonly WaitingAppend[]): Promise<void> {
    const { token } = calls[0]!
    const options = { token, signal: AbortSignal.timeout(COMMIT_TIMEOUT_MS) }
    try {
      const committed = await this.#write(calls, options)
      this.#indexing = this.#indexing.then(() => this.#index(committed, options))
    } catch (error) {
      this.#known = undefined
      const others = calls.filter((call) => call.token !== token)
      const isOfToken = error instanceof RemoteError && [401, 403].includes(error.status)
      // All go under the token of the first, which says nothing about those of the others.
      const failed = isOfToken ? calls.filter((call) => call.token === token) : calls
      for (const { reject } of failed) reject(error)
      if (isOfToken && others.length > 0) await this.#commit(others)
    }
  }

  async #write(calls: readonly WaitingAppend[], options: Options): Promise<Committed> {
    let lost: Pick<Committed, 'plan' | 'placed'> | undefined
    for (let attempt = 0; attempt < COMMIT_ATTEMPTS_MAX; attempt += 1) {
      const base = await this.#where(attempt > 0, options)
      // It was taken, its answer was lost, and somebody has gone on behind it since.
      if (lost && (await this.#isThere(lost.placed))) return this.#unchanged({ ...lost, base })
      const plan = await this.#plan(calls)
      const unplaced = plan.fresh.map((message) => message.unplaced)
      const placed = placeMessages(this.#address, base.thread.frontier, unplaced)
      const committed = await this.#put({ plan, placed, base }, options)
      if (committed) {
        const version = committed.version?.version ?? base.version
        this.#known = { ...base, thread: committed.thread, version }
        return committed
      }
      this.#known = undefined
      lost = { plan, placed }
    }
    throw new OverloadedError('Too many write to this thread at once.', 1)
  }

  async #isThere(placed: readonly PlacedMessage[]): Promise<boolean> {
    const [first] = placed
    if (!first) return false
    return this.#components.index.has(this.#address, { hash: first.hash, seq: first.message.seq })
  }

  /** Nothing was written now: what the calls are answered is in the index already. */
  #unchanged({ plan, placed, base }: Pick<Committed, 'plan' | 'placed' | 'base'>): Committed {
    return { plan, placed, base, thread: base.thread, version: undefined }
  }

  /** Where the thread ends: as remembered, unless that is old or was wrong. */
  async #where(fresh: boolean, options: Options): Promise<Known> {
    const { catchUp } = this.#components
    const remembered = this.#known
    if (remembered && performance.now() - remembered.atMs < HEAD_FRESH_MS) return remembered
    // The index must have what was written here before it is asked.
    await this.#indexing
    const atMs = performance.now()
    let found = await catchUp.bring(this.#address, { ...options, fresh })
    if (found.forks > 0) {
      await catchUp.settle(this.#address, options)
      found = await catchUp.bring(this.#address, { ...options, fresh: true })
    }
    this.#forgetKeys(found.thread)
    return (this.#known = { ...found, atMs })
  }

  /** Which messages are new. Who used a key for something else is answered here. */
  async #plan(calls: readonly WaitingAppend[]): Promise<AppendPlan> {
    const keys = calls.flatMap(({ messages }) =>
      messages.flatMap(({ unplaced: { key } }) => (key === undefined ? [] : [key])),
    )
    // Looked at first: what leaves it meanwhile is in the index by then.
    const known = new Map<string, KnownKey>(this.#unindexed)
    for (const each of await this.#components.index.findKeys(this.#address, [...new Set(keys)])) {
      known.set(each.key, each)
    }
    const plan = planAppend(calls, known)
    for (const [{ reject }, error] of plan.refused) reject(error)
    return plan
  }

  /** Undefined: somebody else wrote the version. */
  async #put(
    { plan, placed, base }: Pick<Committed, 'plan' | 'placed' | 'base'>,
    options: Options,
  ): Promise<Committed | undefined> {
    if (placed.length === 0) return this.#unchanged({ plan, placed, base })
    const { thread } = base
    const next = newVersion(namedOf(thread), thread, { placed, prepared: plan.fresh })
    const { head, messages, frontier } = next
    const record = await this.#store(next, base.version, options)
    if (!record) return undefined
    for (const { hash, message } of placed) {
      const { key, seq } = message
      if (key !== undefined) {
        this.#unindexed.set(key, { key, hash, seq, message, version: record.version })
      }
    }
    const { timestamp } = record
    return {
      ...{ plan, placed, base },
      thread: {
        ...thread,
        version: record.version,
        record: record.record,
        frontier,
        messages: head.count,
      },
      version: { record: record.record, version: record.version, timestamp, head, messages },
    }
  }

  async #store(
    { head, blobs }: NewVersion,
    version: number,
    options: Options,
  ): Promise<RecordJSON | undefined> {
    const { daemon } = this.#components
    const project = projectOf(this.#address)
    const hash = headHash(head)
    const batches = splitBatches(blobs)
    const last = batches.pop()!
    for (const batch of batches) await daemon.putBlobs(batch, { ...options, project })
    const write = { hash, mediaType: THREAD_MEDIA_TYPE, ifVersion: version }
    try {
      const named = await daemon.putNamed(this.#address, last, write, { ...options, project })
      return named.record
    } catch (error) {
      if (!isConflict(error)) throw error
      const current = error.details['current'] as RecordJSON | null | undefined
      if (current?.hash !== hash) return undefined
      // An attempt was taken and its answer lost. That a quorum has it is still to be made sure.
      const again = { hash, mediaType: THREAD_MEDIA_TYPE, ifHash: hash }
      return (await daemon.putAddress(this.#address, again, options)).record
    }
  }

  /** Answers the calls once the index has what they wrote. */
  async #index(
    { plan, placed, base, thread, version }: Committed,
    options: Options,
  ): Promise<void> {
    const { index, catchUp } = this.#components
    try {
      if (version) {
        const after = base.thread.record
        let row = thread
        if (!(await index.advance(thread, version, after))) {
          const applied = await index.apply(this.#address, [version], { after })
          row = applied ?? (await catchUp.bring(this.#address, options)).thread
        }
        this.#forgetKeys(row)
        // Something came from elsewhere that the next message has to follow, too.
        if (!isSameFrontier(row, thread) && this.#known) this.#known.atMs = -Infinity
      }
    } catch (error) {
      this.#known = undefined
      for (const { reject } of plan.slots.keys()) reject(error)
      return
    }
    const { frontier, messages } = thread
    const head = { version: thread.version, seq: frontier.seq, messages }
    for (const [{ resolve }, slots] of plan.slots) resolve({ items: itemsOf(slots, placed), head })
  }

  #forgetKeys({ version }: IndexedThread): void {
    for (const [key, known] of this.#unindexed) {
      if (known.version <= version) this.#unindexed.delete(key)
    }
  }
}

function namedOf(thread: IndexedThread): NewHead {
  const { address, title, createdBy, createdAt, key, from } = thread
  return {
    thread: address,
    ...(title !== null && { title }),
    ...{ createdBy, createdAt },
    ...(key !== null && { key }),
    ...(from !== null && { from }),
  }
}

function isSameFrontier(a: IndexedThread, b: IndexedThread): boolean {
  return a.frontier.ends.join() === b.frontier.ends.join()
}
