import { BlobCorruptError, BlobNotFoundError, QuorumNotReachedError } from '../../shared/errors.ts'
import { REPLICAS } from '../../shared/limits.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { BlobRead, BlobStat, BlobStore, PutOptions, ReadOptions } from '../store/blob-store.ts'
import { PUSHES_MAX, PUSHES_WAITING_MAX, STRAGGLER_WAIT_MS } from './constants.ts'
import type { OwedLedger } from './owed-ledger.ts'
import { quorumOf } from './placement.ts'
import type { Replicator } from './replicator.ts'
import { Semaphore } from './semaphore.ts'

export type Ack = '1' | 'quorum' | 'all'

export interface ReplicatedPut {
  hash: string
  sizeBytes: number
  existed: boolean
  /** Peer ids of the nodes that hold the blob durably, this one first. */
  replicas: readonly string[]
  underReplicated: boolean
}

export interface ReplicatedStoreComponents {
  store: BlobStore
  replicator: Replicator
  ledger: OwedLedger
  log: Logger
}

/** The blob disk of the cluster as one node sees it: puts go to the holders, reads find them. */
export class ReplicatedStore {
  readonly #components: ReplicatedStoreComponents
  readonly #selfId: string
  readonly #pushes = new Semaphore({ running: PUSHES_MAX, waiting: PUSHES_WAITING_MAX })

  constructor(components: ReplicatedStoreComponents, init: { selfId: string }) {
    this.#components = components
    this.#selfId = init.selfId
  }

  /**
   * Stores here, then on the other holders. Resolves when as many hold the blob durably as `ack`
   * asks for; the rest follows, and what cannot follow now is written down as owed.
   * @throws QuorumNotReachedError when too few could; the local copy stays
   */
  async put(
    source: AsyncIterable<Uint8Array> | Uint8Array,
    options: PutOptions & { ack?: Ack } = {},
  ): Promise<ReplicatedPut> {
    const { store, replicator } = this.#components
    const { hash, sizeBytes, existed } = await store.put(source, options)
    const possible = replicator.copiesPossible()
    const ack = options.ack ?? 'quorum'
    const needed = ack === '1' ? 1 : ack === 'all' ? possible : quorumOf(possible)
    const replicas = await this.#spread({ hash, sizeBytes }, needed, options.signal)
    if (replicas.length < needed) {
      throw new QuorumNotReachedError(
        `The blob is on ${replicas.length} of the ${needed} nodes that must hold it.`,
      )
    }
    return { hash, sizeBytes, existed, replicas, underReplicated: replicas.length < REPLICAS }
  }

  /** Verified bytes from here or, when they are not or no longer good here, from a replica. */
  async get(hash: string, options: ReadOptions = {}): Promise<BlobRead> {
    const { store, replicator } = this.#components
    try {
      return await store.get(hash, options)
    } catch (error) {
      if (!(error instanceof BlobNotFoundError) && !(error instanceof BlobCorruptError)) throw error
      const found = await replicator.pull(hash, options.signal)
      if (!found) throw error
      return store.get(hash, options)
    }
  }

  async stat(hash: string, signal?: AbortSignal): Promise<BlobStat | undefined> {
    const { store, replicator } = this.#components
    const local = await store.stat(hash)
    if (local) return local
    for (const peerId of replicator.holders(hash)) {
      if (peerId === this.#selfId) continue
      const sizeBytes = await replicator.have(peerId, hash, signal).catch(() => null)
      if (sizeBytes !== null) return { hash, sizeBytes }
    }
    return undefined
  }

  /** Brings a blob to all holders that are here. True when it now has all copies it can have. */
  async repair(blob: BlobStat, signal?: AbortSignal): Promise<boolean> {
    const { store, replicator, ledger } = this.#components
    if (!(await store.stat(blob.hash))) {
      ledger.remove(blob.hash)
      return true
    }
    const possible = replicator.copiesPossible()
    const replicas = await this.#spread(blob, possible, signal)
    return replicas.length >= possible
  }

  /** Pushes to the holders; waits for `needed` copies and a short while for the others. */
  async #spread(blob: BlobStat, needed: number, signal?: AbortSignal): Promise<string[]> {
    const { replicator, ledger } = this.#components
    const replicas = [this.#selfId]
    const targets = replicator.holders(blob.hash).filter((peerId) => peerId !== this.#selfId)
    const all = this.#pushAll(blob, targets, replicas, needed === 1 ? undefined : signal)
    await Promise.race([all.finished, all.enough(needed)])
    // Written before the put is acknowledged, so a crash forgets no missing copy.
    if (replicas.length < replicator.copiesPossible()) ledger.add(blob.hash, blob.sizeBytes)
    return [...replicas]
  }

  #pushAll(blob: BlobStat, targets: string[], replicas: string[], signal?: AbortSignal) {
    const { replicator, ledger, log } = this.#components
    const listeners: (() => void)[] = []
    const pushes = targets.map((peerId) =>
      this.#pushes.run(async () => {
        try {
          await replicator.push(peerId, blob, signal)
          replicas.push(peerId)
          for (const listener of listeners) listener()
        } catch (error) {
          log.debug({ err: error, peerId, hash: blob.hash }, 'replica not written')
        }
      }),
    )
    const finished = Promise.all(pushes).then(() => {
      if (replicas.length >= replicator.copiesPossible()) ledger.remove(blob.hash)
    })
    const enough = (needed: number): Promise<void> =>
      new Promise((resolve) => {
        const check = (): void => {
          if (replicas.length < needed) return
          if (needed === 1) resolve()
          else setTimeout(resolve, STRAGGLER_WAIT_MS).unref()
        }
        listeners.push(check)
        check()
      })
    return { finished, enough }
  }
}
