import { BlobCorruptError, BlobNotFoundError, QuorumNotReachedError } from '../../shared/errors.ts'
import { REPLICAS } from '../../shared/limits.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type {
  BlobRead,
  BlobStat,
  BlobStore,
  PutOptions,
  PutResult,
  ReadOptions,
} from '../store/blob-store.ts'
import type { BlobPulls } from './blob-pulls.ts'
import {
  PUSHES_MAX,
  PUSHED_BLOB_BYTES_MAX,
  PUSHES_WAITING_MAX,
  READ_REPAIRS_MAX,
  RECEIVE_BASE_TIMEOUT_MS,
  STRAGGLER_JOB_DELAY_MS,
  STRAGGLER_WAIT_MS,
  SURPLUS_KEEP_MS,
} from './constants.ts'
import { CopySpread, type CopySpreadComponents } from './copy-spread.ts'
import type { Members } from './members.ts'
import { quorumOf } from './placement.ts'
import type { RepairQueue } from './repair-queue.ts'
import { receiveTimeoutMs, type ReplicaClient } from './replica-client.ts'
import { Semaphore } from './semaphore.ts'
import { unlessAborted } from './shared-tasks.ts'

export type Ack = '1' | 'quorum' | 'all'

export interface ReplicatedPut extends PutResult {
  /** Peer ids of the nodes that hold the blob durably, this one first. */
  replicas: readonly string[]
  underReplicated: boolean
}

export interface ReplicatedStoreComponents extends Omit<CopySpreadComponents, 'pushes'> {
  store: BlobStore
  members: Members
  client: ReplicaClient
  pulls: Pick<BlobPulls, 'pull'>
  queue: Pick<RepairQueue, 'add' | 'addSoon' | 'removeSoon'>
}

export interface ReplicatedStoreInit {
  /** Longest wait for acknowledgements, on top of the time that size allows. */
  ackTimeoutMs?: number
  handoffAfterMs?: number
  surplusKeepMs?: number
  stragglerWaitMs?: number
  stragglerDelayMs?: number
}

/** The blob disk of the cluster as one node sees it: puts go to the holders, reads find them. */
export class ReplicatedStore implements Startable {
  readonly #components: ReplicatedStoreComponents
  readonly #init: ReplicatedStoreInit
  readonly #pushes = new Semaphore({ running: PUSHES_MAX, waiting: PUSHES_WAITING_MAX })
  readonly #spreads = new Set<Promise<void>>()
  #stopping = new AbortController()

  constructor(components: ReplicatedStoreComponents, init: ReplicatedStoreInit = {}) {
    this.#components = components
    this.#init = init
  }

  start(): Promise<void> {
    if (this.#stopping.signal.aborted) this.#stopping = new AbortController()
    return Promise.resolve()
  }

  /** Copies on their way are given up; what they owe is written down. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('The node is stopping.'))
    await Promise.all(this.#spreads)
  }

  /**
   * Stores here, then on the other holders. Resolves when as many nodes hold the blob durably as
   * `ack` asks for; the rest follows, and what cannot follow now is written down as owed.
   * @throws QuorumNotReachedError when too few could in time; the local copy stays
   * @throws PartitionMinorityError before anything is stored, unless `ack` is 1
   */
  async put(
    source: AsyncIterable<Uint8Array> | Uint8Array,
    options: PutOptions & { ack?: Ack } = {},
  ): Promise<ReplicatedPut> {
    const { store, members } = this.#components
    const { ack = 'quorum', ...putOptions } = options
    const possible = members.copiesPossible()
    const needed = ack === '1' ? 1 : ack === 'all' ? possible : quorumOf(possible)
    if (needed > 1) members.requireMajority()
    const result = await store.put(source, putOptions)
    const isSmall = source instanceof Uint8Array && source.byteLength <= PUSHED_BLOB_BYTES_MAX
    const { hash, sizeBytes } = result
    const spread = this.#spread({ hash, sizeBytes }, isSmall ? source : undefined)
    try {
      await unlessAborted(this.#acknowledged(spread, result.sizeBytes, needed), options.signal)
      const replicas = [...spread.replicas]
      if (replicas.length < needed) {
        throw new QuorumNotReachedError(
          `The blob is on ${replicas.length} of the ${needed} nodes that must hold it.`,
        )
      }
      // Written before the put is acknowledged, so a crash forgets no missing copy.
      if (replicas.length < possible) await this.#owe(spread, possible)
      return { ...result, replicas, underReplicated: replicas.length < REPLICAS }
    } finally {
      this.#follow(spread)
    }
  }

  /** Verified bytes from here or, when they are not or no longer good here, from a replica. */
  async get(hash: string, options: ReadOptions = {}): Promise<BlobRead> {
    const read = await this.#open(hash, options)
    return { ...read, body: this.#unbroken(read, options.signal) }
  }

  async stat(hash: string, signal?: AbortSignal): Promise<BlobStat | undefined> {
    const { store, members, client } = this.#components
    const local = await store.stat(hash)
    if (local) return local
    const holders = members.holders(hash)
    const others = members.list().map(({ peerId }) => peerId)
    // Holders first; a stand-in or a reader may have a copy when none of them has.
    for (const group of [holders, others.filter((peerId) => !holders.includes(peerId))]) {
      const asked = group
        .filter((peerId) => peerId !== members.selfId && members.isLive(peerId))
        .map(async (peerId) => {
          const sizeBytes = await client.have(peerId, hash, signal)
          if (sizeBytes === null) throw new BlobNotFoundError(`${peerId} does not hold ${hash}.`)
          return { hash, sizeBytes }
        })
      const found = await Promise.any(asked).catch(() => undefined)
      if (found) return found
    }
    return undefined
  }

  #spread(blob: BlobStat, bytes: Uint8Array | undefined): CopySpread {
    const { handoffAfterMs } = this.#init
    return new CopySpread(
      { ...this.#components, pushes: this.#pushes },
      {
        blob,
        ...(bytes && { bytes }),
        signal: this.#stopping.signal,
        ...(handoffAfterMs !== undefined && { handoffAfterMs }),
      },
    )
  }

  /** The put is answered, its copies may still be on their way. */
  #follow(spread: CopySpread): void {
    const followed = spread.finished.then(() => {
      this.#spreads.delete(followed)
      this.#settle(spread)
    })
    this.#spreads.add(followed)
  }

  /** Waits for enough copies and a short while for the others, but never for long. */
  async #acknowledged(spread: CopySpread, sizeBytes: number, needed: number): Promise<void> {
    if (needed === 1) return
    const baseMs = this.#init.ackTimeoutMs ?? RECEIVE_BASE_TIMEOUT_MS
    await within(receiveTimeoutMs(sizeBytes, baseMs), spread.enough(needed))
    if (spread.replicas.length < needed) return
    await within(this.#init.stragglerWaitMs ?? STRAGGLER_WAIT_MS, spread.finished)
  }

  /** A job for the missing copies; those still on their way get the time to arrive. */
  async #owe(spread: CopySpread, possible: number): Promise<void> {
    const { blob, replicas, lacking } = spread
    const missing = Math.max(lacking.length, possible - replicas.length)
    const request = { ...blob, reason: 'lost_ack' as const, missing, short: missing }
    const { stragglerDelayMs: delayMs = STRAGGLER_JOB_DELAY_MS } = this.#init
    const isWaiting = this.#allAway(lacking)
    await this.#components.queue.add({
      ...request,
      ...(isWaiting ? { waitingFor: lacking } : { delayMs }),
    })
  }

  /** Once it is known which copies came. */
  #settle(spread: CopySpread): void {
    const { queue, members } = this.#components
    const { blob, lacking, replicas, isOwn } = spread
    const short = Math.max(0, members.copiesPossible() - replicas.length)
    if (lacking.length === 0) {
      if (!isOwn) this.#moveOnLater(blob)
      else if (short === 0) queue.removeSoon(blob.hash)
      return
    }
    // The stand-in brings the copy back by itself.
    if (isOwn && short === 0) return
    const request = { ...blob, reason: 'lost_ack' as const, missing: lacking.length, short }
    queue.addSoon(this.#allAway(lacking) ? { ...request, waitingFor: lacking } : request)
  }

  #allAway(peerIds: readonly string[]): boolean {
    return !peerIds.some((peerId) => this.#components.members.isLive(peerId))
  }

  /** A copy that does not belong here is of use for a while, and then goes. */
  #moveOnLater(blob: BlobStat): void {
    const delayMs = this.#init.surplusKeepMs ?? SURPLUS_KEEP_MS
    this.#components.queue.addSoon({ ...blob, reason: 'surplus', delayMs })
  }

  async #open(hash: string, options: ReadOptions): Promise<BlobRead> {
    const { store } = this.#components
    try {
      return await store.get(hash, options)
    } catch (error) {
      if (!isLost(error)) throw error
      if (!(await this.#fetch(hash, options.signal))) throw error
      return store.get(hash, options)
    }
  }

  /** Reads on from a replica when the copy turns out bad, or is dropped, in mid-body. */
  async *#unbroken(read: BlobRead, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    let position = read.start
    let body = read.body
    for (let repairs = 0; ; repairs += 1) {
      try {
        for await (const chunk of body) {
          position += chunk.length
          yield chunk
        }
        return
      } catch (error) {
        if (!isLost(error) || repairs >= READ_REPAIRS_MAX) throw error
        if (!(await this.#fetch(read.hash, signal))) throw error
        const rest = { start: position, end: read.end, ...(signal && { signal }) }
        body = (await this.#components.store.get(read.hash, rest)).body
      }
    }
  }

  /** Brings a blob here to be read, and sees to it that it lies where it belongs afterwards. */
  async #fetch(hash: string, signal?: AbortSignal): Promise<boolean> {
    const { store, pulls, members, queue } = this.#components
    const { found, moved, lacking } = await pulls.pull(hash, signal ? { signal } : {})
    const blob = found && moved ? await store.stat(hash) : undefined
    if (!blob) return found
    const holders = members.holders(hash)
    const missing = lacking.filter((peerId) => holders.includes(peerId)).length
    if (missing > 0) queue.addSoon({ ...blob, reason: 'read_repair', missing, short: missing })
    else if (!holders.includes(members.selfId)) this.#moveOnLater(blob)
    return true
  }
}

/** Waits for the work, but not for longer than this. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([work, over])
  clearTimeout(timer)
}

function isLost(error: unknown): boolean {
  return error instanceof BlobNotFoundError || error instanceof BlobCorruptError
}
