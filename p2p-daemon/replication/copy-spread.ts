import type { BlobStat } from '../store/blob-store.ts'
import { REPLICAS } from '../../shared/limits.ts'
import type { Logger } from '../../shared/log/log.ts'
import { HANDOFF_AFTER_MS, STAND_INS_MAX } from './constants.ts'
import type { CopyLedger } from './copy-ledger.ts'
import type { CopyPushes } from './copy-pushes.ts'
import type { Members } from './members.ts'
import { receiveTimeoutMs, type ReplicaClient } from './replica-client.ts'
import type { Semaphore } from './semaphore.ts'

export interface CopySpreadComponents {
  members: Pick<Members, 'selfId' | 'holders' | 'liveHolders' | 'isLive'>
  client: Pick<ReplicaClient, 'hold'>
  /** For small blobs. */
  copyPushes: Pick<CopyPushes, 'push'>
  copies: Pick<CopyLedger, 'held'>
  pushes: Semaphore
  log: Logger
}

export interface CopySpreadInit {
  blob: BlobStat
  /** The blob itself where it is small and at hand: then it is sent, and not pulled. */
  bytes?: Uint8Array
  /** Aborts when the node stops; a caller that leaves does not hold back the copies. */
  signal: AbortSignal
  handoffAfterMs?: number
}

/**
 * One blob on its way from here to its holders. For a holder that is away, refuses or is slow the
 * next node of the rank stands in, which is told for whom and gives the copy back by itself.
 */
export class CopySpread {
  /** Nodes that hold the blob durably, this one first. */
  readonly replicas: string[]
  /** Settles when every holder has acknowledged or was given up. */
  readonly finished: Promise<void>
  readonly #components: CopySpreadComponents
  readonly #init: CopySpreadInit
  readonly #proper: readonly string[]
  /** Nodes that were asked to hold the blob, and those spared because a copy is expected. */
  readonly #asked: Set<string>
  /** Proper holders from which a copy is still hoped for. */
  readonly #hoped: Set<string>
  #onReplica: () => void = () => undefined

  constructor(components: CopySpreadComponents, init: CopySpreadInit) {
    this.#components = components
    this.#init = init
    const { members } = components
    this.replicas = [members.selfId]
    this.#proper = members.holders(init.blob.hash)
    const targets = this.#proper.filter((peerId) => peerId !== members.selfId)
    this.#asked = new Set([members.selfId, ...targets])
    this.#hoped = new Set(targets.filter((peerId) => members.isLive(peerId)))
    this.finished = Promise.all(targets.map((peerId) => this.#bring(peerId))).then(() => undefined)
  }

  get blob(): BlobStat {
    return this.#init.blob
  }

  /** Proper holders without a copy. */
  get lacking(): string[] {
    return this.#proper.filter((peerId) => !this.replicas.includes(peerId))
  }

  /** Whether this node is one of the holders. */
  get isOwn(): boolean {
    return this.#proper.includes(this.#components.members.selfId)
  }

  /** Resolves as soon as `count` nodes hold the blob, or when no more will. */
  enough(count: number): Promise<void> {
    return new Promise((resolve) => {
      const check = (): void => {
        if (this.replicas.length >= count) resolve()
      }
      this.#onReplica = check
      check()
      void this.finished.then(resolve)
    })
  }

  async #bring(holder: string): Promise<void> {
    if (!this.#hoped.has(holder)) return this.#standIn(holder)
    const { blob, handoffAfterMs = HANDOFF_AFTER_MS } = this.#init
    let timer: NodeJS.Timeout | undefined
    const slow = new Promise<'slow'>((resolve) => {
      timer = setTimeout(() => resolve('slow'), receiveTimeoutMs(blob.sizeBytes, handoffAfterMs))
    })
    const push = this.#push(holder)
    const first = await Promise.race([push, slow])
    clearTimeout(timer)
    if (first === true) return
    this.#hoped.delete(holder)
    await Promise.all([push, this.#standIn(holder)])
  }

  /** Finds another node for the copy of `holder`, unless there are copies enough without it. */
  async #standIn(holder: string): Promise<void> {
    for (let tries = 0; tries < STAND_INS_MAX; tries += 1) {
      const coming = [...this.#hoped].filter((peerId) => !this.replicas.includes(peerId))
      if (this.replicas.length + coming.length >= REPLICAS) return
      const standIn = this.#nextOfRank()
      if (standIn === undefined) return
      this.#asked.add(standIn)
      if (await this.#push(standIn, holder)) return
    }
  }

  #nextOfRank(): string | undefined {
    const { members } = this.#components
    return members
      .liveHolders(this.#init.blob.hash, REPLICAS + this.#asked.size)
      .find((peerId) => !this.#asked.has(peerId))
  }

  async #push(peerId: string, heldFor?: string): Promise<boolean> {
    const { client, copies, copyPushes, pushes, log } = this.#components
    const { blob, bytes, signal } = this.#init
    const forWhom = heldFor !== undefined && { heldFor }
    try {
      if (bytes) await copyPushes.push(peerId, { hash: blob.hash, bytes, ...forWhom }, signal)
      else await pushes.run(() => client.hold(peerId, blob, { signal, ...forWhom }), signal)
    } catch (error) {
      this.#hoped.delete(peerId)
      log.debug({ err: error, peerId, hash: blob.hash }, 'copy not written')
      return false
    }
    copies.held(blob.hash, peerId)
    this.replicas.push(peerId)
    this.#onReplica()
    return true
  }
}
