import { CollectionHeldError, CollectionRunningError } from '../../shared/errors.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Clock } from '../clock.ts'
import type { BlobStat, BlobStore } from '../store/blob-store.ts'
import type { CandidateStore } from './candidate-store.ts'
import { newCollection, type Collection } from './collection.ts'
import {
  EXAMPLES_MAX,
  GRACE_SHARE,
  PAUSE_MS_MAX,
  SWEEP_PAGE_BLOBS,
  WALK_PAGE_BLOBS,
} from './constants.ts'
import type { GCMetrics } from './gc-metrics.ts'
import { MarkSet } from './mark-set.ts'
import type { Pins } from './pins.ts'
import type { RootGatherer } from './root-gatherer.ts'
import { describeHold } from './root-server.ts'

export interface CollectableStore extends BlobStore {
  /** Gives the space of deleted blobs back to the disk, where deleting alone does not. */
  compact?(options: { signal: AbortSignal }): Promise<unknown>
}

export interface CollectorComponents {
  store: Pick<CollectableStore, 'list' | 'delete' | 'compact'>
  candidates: CandidateStore
  gatherer: RootGatherer
  pins: Pick<Pins, 'activeHold'>
  metrics: GCMetrics
  /** Told of every blob that is gone. */
  onDeleted?: (hash: string) => void
  log: Logger
  clock: Clock
}

export interface CollectorInit {
  /** How long a blob is kept after the mark that first found it unreferenced. */
  graceMs: number
  /** A collection starts by itself this often; 0: only when asked for. */
  periodMs: number
}

/**
 * Deletes blobs that nothing refers to.
 *
 * A run marks what all members refer to, walks the blobs of this node and writes down those
 * without a mark, then deletes those that were written down a grace ago and have never been marked
 * or put since. Why a blob that somebody is about to refer to is safe:
 *
 * - who refers to a blob has put or touched it a quarter of a grace ago at most, and the store
 *   tells of every put before it looks whether the blob is here: that takes it off the list;
 * - the reference is written at most half a grace after the touch, and a run that began before it
 *   was written ends within a quarter: what it may still delete was last put before the touch;
 * - a run that began later asks all members and so sees the reference.
 *
 * A crash at any point leaves the list as it was; the marks are gone and the next run makes them
 * anew. Graces are measured by this node's clock.
 */
export class Collector implements Startable {
  readonly #components: CollectorComponents
  readonly #init: CollectorInit
  #controller: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()
  #run: { abort: AbortController; done: Promise<Collection> } | undefined
  #last: Collection | undefined

  constructor(components: CollectorComponents, init: CollectorInit) {
    this.#components = components
    this.#init = init
  }

  start(): Promise<void> {
    if (this.#controller) return Promise.resolve()
    this.#controller = new AbortController()
    if (this.#init.periodMs > 0) this.#loop = this.#repeat(this.#controller.signal)
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#controller?.abort()
    this.#controller = undefined
    this.#run?.abort.abort()
    await this.#run?.done
    await this.#loop
  }

  /** The collection that runs or ran last. */
  current(): Readonly<Collection> | undefined {
    return this.#last
  }

  /** Ends the run that is going on; what it deleted stays deleted. */
  async cancel(): Promise<Readonly<Collection> | undefined> {
    this.#run?.abort.abort()
    await this.#run?.done
    return this.#last
  }

  /**
   * Begins a run; `done` resolves with its result and never rejects. A dry run changes nothing.
   * @throws CollectionRunningError, CollectionHeldError
   */
  collect(options: { dryRun: boolean }): { done: Promise<Collection> } {
    if (this.#run) throw new CollectionRunningError('A collection runs already.')
    const hold = this.#components.pins.activeHold()
    if (hold && !options.dryRun) throw new CollectionHeldError(`${describeHold(hold)}.`)
    const collection = this.plan(options)
    this.#last = collection
    const abort = new AbortController()
    const done = this.#finish(collection, abort.signal).finally(() => (this.#run = undefined))
    this.#run = { abort, done }
    return { done }
  }

  /** A run that has not begun. */
  plan(options: { dryRun: boolean }): Collection {
    const { clock, gatherer } = this.#components
    return newCollection({ ...options, startedMs: clock.now(), members: gatherer.members() })
  }

  /** A run as single steps, so that nothing else waits long, and tests can stop between any two. */
  async *steps(collection: Collection, signal: AbortSignal): AsyncGenerator<void> {
    const { gatherer, clock } = this.#components
    const marks = new MarkSet()
    const obstacle = yield* gatherer.gather(marks, collection, signal)
    collection.roots = marks.size
    if (obstacle !== undefined) return incomplete(collection, obstacle)
    collection.phase = 'walk'
    const cutoffMs = clock.now() - this.#init.graceMs
    yield* this.#walk(collection, marks, cutoffMs, signal)
    if (collection.dryRun) return
    collection.phase = 'sweep'
    yield* this.#sweep(collection, cutoffMs, signal)
  }

  async *#walk(
    collection: Collection,
    marks: MarkSet,
    cutoffMs: number,
    signal: AbortSignal,
  ): AsyncGenerator<void> {
    let after = ''
    let page: BlobStat[] = []
    for await (const blob of this.#components.store.list({ signal })) {
      page.push(blob)
      if (page.length < WALK_PAGE_BLOBS) continue
      this.#compare(collection, marks, cutoffMs, { after, upTo: blob.hash, page })
      after = blob.hash
      page = []
      yield
    }
    this.#compare(collection, marks, cutoffMs, { after, upTo: HASH_LAST, page })
    yield
  }

  /** Without a pause in between: what is put meanwhile comes before all of it or after. */
  #compare(
    collection: Collection,
    marks: MarkSet,
    cutoffMs: number,
    { after, upTo, page }: { after: string; upTo: string; page: BlobStat[] },
  ): void {
    const { candidates, clock } = this.#components
    const unreferenced = page.filter(({ hash }) => !marks.has(hash))
    collection.checked += page.length
    if (!collection.dryRun) candidates.reconcile({ after, upTo }, unreferenced, clock.now())
    for (const { hash, sizeBytes } of unreferenced) {
      collection.unreferenced += 1
      collection.unreferencedBytes += sizeBytes
      if (!candidates.isRipe(hash, cutoffMs)) continue
      collection.candidates += 1
      collection.bytes += sizeBytes
      if (collection.examples.length < EXAMPLES_MAX) {
        collection.examples.push({ hash, size: sizeBytes })
      }
    }
  }

  async *#sweep(
    collection: Collection,
    cutoffMs: number,
    signal: AbortSignal,
  ): AsyncGenerator<void> {
    const { candidates } = this.#components
    let after = ''
    for (;;) {
      const page = candidates.ripe(after, cutoffMs, SWEEP_PAGE_BLOBS)
      const last = page.at(-1)
      if (last === undefined) return
      after = last.hash
      signal.throwIfAborted()
      const obstacle = this.#obstacle(collection)
      if (obstacle !== undefined) return incomplete(collection, obstacle)
      // All at once: their tombstones share a sync of the disk.
      const deletions = page.map((blob) => this.#delete(collection, blob, cutoffMs))
      const results = await Promise.allSettled(deletions)
      candidates.remove(page.filter((_, index) => isDeleted(results[index])))
      for (const result of results) if (result.status === 'rejected') throw result.reason
      yield
    }
  }

  async #delete(collection: Collection, blob: BlobStat, cutoffMs: number): Promise<boolean> {
    const { store, candidates, metrics } = this.#components
    const { hash, sizeBytes } = blob
    const onlyIf = (): boolean =>
      candidates.isRipe(hash, cutoffMs) && this.#obstacle(collection) === undefined
    if (!(await store.delete(hash, { onlyIf }))) return false
    collection.deleted += 1
    collection.deletedBytes += sizeBytes
    metrics.deleted(sizeBytes)
    this.#components.onDeleted?.(hash)
    return true
  }

  /** Why this run must not delete one more blob. */
  #obstacle(collection: Collection): string | undefined {
    const { gatherer, clock } = this.#components
    const ageMs = clock.now() - collection.startedMs
    const ageMsMax = this.#init.graceMs * GRACE_SHARE
    if (ageMs > ageMsMax)
      return `the marks are older than ${ageMsMax / 1000} s, a share of the grace`
    return gatherer.obstacle(collection.members)
  }

  async #finish(collection: Collection, signal: AbortSignal): Promise<Collection> {
    const { store, log, metrics, clock } = this.#components
    const { dryRun } = collection
    log.info({ dryRun }, 'a collection began')
    try {
      for await (const _step of this.steps(collection, signal)) await nextTurn()
      if (collection.deleted > 0) await store.compact?.({ signal })
      collection.outcome ??= 'done'
    } catch (error) {
      collection.outcome = signal.aborted ? 'cancelled' : 'failed'
      collection.reason = signal.aborted ? null : 'a fault of this node; its log has more'
      if (!signal.aborted) log.error({ err: error }, 'a collection failed')
    }
    collection.finishedMs = clock.now()
    collection.state = 'ended'
    collection.phase = 'end'
    const { examples: _examples, ...told } = collection
    log.info(told, 'a collection ended')
    const seconds = (collection.finishedMs - collection.startedMs) / 1000
    if (!dryRun) metrics.run(collection.outcome, seconds, collection.finishedMs)
    return collection
  }

  async #repeat(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#components
    while (!signal.aborted) {
      const nextMs = clock.now() + this.#init.periodMs
      while (clock.now() < nextMs && !signal.aborted) {
        const pauseMs = Math.min(nextMs - clock.now(), PAUSE_MS_MAX)
        await clock.sleep(pauseMs, signal).catch(() => undefined)
      }
      if (signal.aborted) return
      try {
        await this.collect({ dryRun: false }).done
      } catch (error) {
        log.info({ err: error }, 'a collection was left out')
      }
    }
  }
}

const HASH_LAST = 'f'.repeat(64)

function isDeleted(result: PromiseSettledResult<boolean> | undefined): boolean {
  return result?.status === 'fulfilled' && result.value
}

function incomplete(collection: Collection, reason: string): void {
  collection.outcome = 'incomplete'
  collection.reason = reason
}

async function nextTurn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}
