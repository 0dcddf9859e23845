import type { BlobStat, BlobStore } from '../store/blob-store.ts'
import { REPLICAS } from '../../shared/limits.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { BlobPulls } from './blob-pulls.ts'
import { PROMISE_MS } from './constants.ts'
import type { CopyLedger } from './copy-ledger.ts'
import type { DropGuard } from './drop-guard.ts'
import type { Members } from './members.ts'
import type { RepairJob } from './repair-queue.ts'
import type { ReplicaClient } from './replica-client.ts'
import type { TokenBucket } from './token-bucket.ts'

/** How a look at one blob ended. */
export type Settled =
  | { state: 'done'; result: 'repaired' | 'dropped' | 'unneeded' | 'lost' }
  | { state: 'waiting'; waitingFor: readonly string[]; missing: number; short: number }
  | { state: 'failed'; error: unknown; missing: number; short: number }
  /** Nothing is wrong, but this is not the moment. */
  | { state: 'later'; delayMs: number }

export interface BlobSettlementComponents {
  store: BlobStore
  members: Members
  client: ReplicaClient
  pulls: Pick<BlobPulls, 'pull'>
  copies: CopyLedger
  guard: DropGuard
  bucket: TokenBucket
  log: Logger
  /** False while garbage is collected or a backup runs: then nothing is dropped. */
  canDrop: () => boolean
}

export interface BlobSettlementInit {
  promiseMs?: number
  /** How soon a drop that could not be is tried again. */
  dropRetryMs: number
  onBytes?: (bytes: number) => void
}

interface Copies {
  confirmed: string[]
  away: string[]
  failed: string[]
  error: unknown
  moved: boolean
}

/**
 * Makes the copies of one blob what they should be, as far as this node can: brings it here when it
 * belongs here, to the other holders, and drops it here when it does not belong here and all
 * holders have confirmed. What it finds is right already it leaves alone, so it may run any
 * number of times, on several nodes at once.
 */
export class BlobSettlement {
  readonly #components: BlobSettlementComponents
  readonly #init: BlobSettlementInit

  constructor(components: BlobSettlementComponents, init: BlobSettlementInit) {
    this.#components = components
    this.#init = init
  }

  async settle(job: RepairJob, signal: AbortSignal): Promise<Settled> {
    const { store, members } = this.#components
    const isOwn = (): boolean => members.holders(job.hash).includes(members.selfId)
    const here = await store.stat(job.hash)
    // A copy that went bad may have stood in for another one, so it is brought back either way.
    if (!here && !isOwn() && job.reason !== 'corrupt') return { state: 'done', result: 'unneeded' }
    const fetched = here ? undefined : await this.#fetch(job, signal)
    if (fetched && 'state' in fetched) return fetched
    const blob = here ?? fetched!
    const belongs = isOwn()
    const others = members.holders(job.hash).filter((peerId) => peerId !== members.selfId)
    const copies = await this.#bringTo(others, blob, signal)
    if (job.reason === 'lost_ack') await this.#standIn(blob, copies, signal)
    const missing = this.#notKnownToHold(job.hash, [...copies.away, ...copies.failed])
    const short = Math.max(0, members.copiesPossible() - 1 - copies.confirmed.length)
    const left = { missing, short }
    if (copies.failed.length > 0) return { state: 'failed', error: copies.error, ...left }
    if (copies.away.length > 0) return { state: 'waiting', waitingFor: copies.away, ...left }
    if (!belongs) return this.#drop(blob, others, signal)
    return { state: 'done', result: copies.moved || fetched ? 'repaired' : 'unneeded' }
  }

  /** Nodes that do not answer owe nothing if they held the blob when they last did. */
  #notKnownToHold(hash: string, peerIds: readonly string[]): number {
    const held = this.#components.copies.holders(hash)
    return peerIds.filter((peerId) => !held.includes(peerId)).length
  }

  /** Brings the blob here, where it belongs. */
  async #fetch(job: RepairJob, signal: AbortSignal): Promise<BlobStat | Settled> {
    const { store, pulls, members, bucket, log } = this.#components
    const { hash } = job
    const lacking = { missing: 1, short: 1 }
    try {
      const { found, moved } = await pulls.pull(hash, { bucket, signal })
      const blob = found ? await store.stat(hash) : undefined
      if (blob) {
        if (moved) this.#init.onBytes?.(blob.sizeBytes)
        return blob
      }
    } catch (error) {
      signal.throwIfAborted()
      return { state: 'failed', error, ...lacking }
    }
    const away = members.list().filter(({ live }) => !live)
    if (away.length > 0 || !members.isComplete()) {
      const waitingFor = away.map(({ peerId }) => peerId)
      return { state: 'waiting', waitingFor, ...lacking }
    }
    log.error({ hash, reason: job.reason }, 'no node holds the blob any more')
    return { state: 'done', result: 'lost' }
  }

  async #bringTo(peerIds: readonly string[], blob: BlobStat, signal: AbortSignal): Promise<Copies> {
    const { members } = this.#components
    const copies: Copies = { confirmed: [], away: [], failed: [], error: undefined, moved: false }
    for (const peerId of peerIds) {
      if (!members.isLive(peerId)) {
        copies.away.push(peerId)
        continue
      }
      try {
        if (await this.#ensure(peerId, blob, undefined, signal)) copies.moved = true
        copies.confirmed.push(peerId)
      } catch (error) {
        signal.throwIfAborted()
        copies.failed.push(peerId)
        copies.error = error
      }
    }
    return copies
  }

  /** A put that lacks copies for want of holders: others hold them for as long as it takes. */
  async #standIn(blob: BlobStat, copies: Copies, signal: AbortSignal): Promise<void> {
    const { members } = this.#components
    const absent = [...copies.away, ...copies.failed]
    const proper = new Set([members.selfId, ...copies.confirmed, ...absent])
    const wanted = REPLICAS - 1 - copies.confirmed.length
    const candidates = members
      .liveHolders(blob.hash, proper.size + REPLICAS)
      .filter((peerId) => !proper.has(peerId))
    for (const [index, peerId] of candidates.slice(0, wanted).entries()) {
      const heldFor = absent[index]
      if (heldFor === undefined) return
      try {
        if (await this.#ensure(peerId, blob, heldFor, signal)) copies.moved = true
        copies.confirmed.push(peerId)
      } catch (error) {
        signal.throwIfAborted()
        copies.error ??= error
      }
    }
  }

  /** True when the peer had to be given the blob. */
  async #ensure(
    peerId: string,
    blob: BlobStat,
    heldFor: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { client, copies, bucket } = this.#components
    const has = (await client.have(peerId, blob.hash, signal)) !== null
    if (!has) {
      copies.lacks(blob.hash, peerId)
      await bucket.take(blob.sizeBytes, signal)
      await client.hold(peerId, blob, { signal, ...(heldFor !== undefined && { heldFor }) })
      this.#init.onBytes?.(blob.sizeBytes)
    }
    copies.held(blob.hash, peerId)
    return !has
  }

  /** Only when the full number of copies is held by others, who all say so now. */
  async #drop(blob: BlobStat, holders: readonly string[], signal: AbortSignal): Promise<Settled> {
    const { store, client, guard, canDrop } = this.#components
    const { hash } = blob
    if (holders.length < REPLICAS) return { state: 'done', result: 'unneeded' }
    const keptForMs = guard.keptForMs(hash)
    if (keptForMs > 0) return { state: 'later', delayMs: keptForMs }
    const later: Settled = { state: 'later', delayMs: this.#init.dropRetryMs }
    if (!canDrop()) return later
    // Half the time for which they promise: the other half is theirs to be sure of ours.
    const untilMs = performance.now() + (this.#init.promiseMs ?? PROMISE_MS) / 2
    return guard.drop(hash, async () => {
      const asked = holders.map((peerId) => client.keep(peerId, hash, signal))
      const answers = await Promise.allSettled(asked)
      signal.throwIfAborted()
      const kept = answers.every((answer) => answer.status === 'fulfilled' && answer.value)
      if (!kept) return later
      const onlyIf = (): boolean => performance.now() < untilMs && canDrop()
      if (!(await store.delete(hash, { onlyIf }))) return later
      return { state: 'done', result: 'dropped' }
    })
  }
}
