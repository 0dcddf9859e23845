import { randomUUID } from 'node:crypto'

import {
  BlobNotFoundError,
  HoldNotFoundError,
  LeaseNotFoundError,
  PinNotFoundError,
  QuorumNotReachedError,
} from '../../shared/errors.ts'
import type { Clock } from '../clock.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { requireMajority } from '../mesh/partition.ts'
import { quorumOf } from '../replication/placement.ts'
import { isLive, type Claim, type ClaimKind } from './claim.ts'
import { CLAIM_PUSH_TIMEOUT_MS, STRAGGLER_WAIT_MS } from './constants.ts'
import { encodeMessage } from './message.ts'
import { PIN_PROTOCOL, type PinRequest } from './pin-protocol.ts'
import type { PinStore } from './pin-store.ts'
import type { Retention } from './retention.ts'

export interface PinsComponents {
  mesh: Pick<Mesh, 'self' | 'peers' | 'expectedPeers' | 'request'>
  store: PinStore
  retention: Pick<Retention, 'retain'>
  clock: Clock
}

export interface WhoAndWhy {
  subject: string
  reason: string
}

/**
 * Pins, leases and holds of the cluster as one node writes them. A write is kept here and told to
 * every member in reach; it is acknowledged once a quorum of all members has it on disk. Where no
 * quorum is in reach nothing is kept: PartitionMinorityError.
 */
export class Pins {
  readonly #components: PinsComponents

  constructor(components: PinsComponents) {
    this.#components = components
  }

  /** @throws BlobNotFoundError, QuorumNotReachedError */
  async pin(
    hash: string,
    who: WhoAndWhy,
    signal?: AbortSignal,
  ): Promise<{ pin: Claim; created: boolean }> {
    await this.#retain(hash, signal)
    const known = this.find('pin', hash)
    const fields = { key: hash, hash, expiresMs: null, ...who }
    const pin = await this.#write('pin', fields, signal)
    return { pin, created: known === undefined }
  }

  /** @throws PinNotFoundError, QuorumNotReachedError */
  async unpin(hash: string, signal?: AbortSignal): Promise<void> {
    const pin = this.find('pin', hash)
    if (!pin) throw new PinNotFoundError(`The blob ${hash} is not pinned.`)
    await this.#write('pin', { ...pin, deleted: true }, signal)
  }

  /** Keeps a blob while work that will refer to it goes on. */
  async lease(hash: string, ttlMs: number, who: WhoAndWhy, signal?: AbortSignal): Promise<Claim> {
    await this.#retain(hash, signal)
    const expiresMs = this.#components.clock.now() + ttlMs
    return this.#write('lease', { key: randomUUID(), hash, expiresMs, ...who }, signal)
  }

  /** @throws LeaseNotFoundError, QuorumNotReachedError */
  async release(id: string, signal?: AbortSignal): Promise<void> {
    const lease = this.find('lease', id)
    if (!lease) throw new LeaseNotFoundError(`There is no lease ${id}, or it has expired.`)
    await this.#write('lease', { ...lease, deleted: true }, signal)
  }

  /**
   * From its return until `ttlMs` later or `unholdGC`, no node begins to delete, and one that was
   * about to stops as soon as it is told; one that cannot be told is not allowed to delete either.
   * Taken again under the same name it is extended.
   */
  holdGC(name: string, ttlMs: number, who: WhoAndWhy, signal?: AbortSignal): Promise<Claim> {
    const expiresMs = this.#components.clock.now() + ttlMs
    return this.#write('hold', { key: name, hash: null, expiresMs, ...who }, signal)
  }

  /** @throws HoldNotFoundError, QuorumNotReachedError */
  async unholdGC(name: string, signal?: AbortSignal): Promise<void> {
    const hold = this.find('hold', name)
    if (!hold) throw new HoldNotFoundError(`There is no hold ${name}, or it has expired.`)
    await this.#write('hold', { ...hold, deleted: true }, signal)
  }

  /** The hold that keeps this node from deleting now. */
  activeHold(): Claim | undefined {
    return this.page('hold', '', 1)[0]
  }

  find(kind: ClaimKind, key: string): Claim | undefined {
    const { store, clock } = this.#components
    const claim = store.find(kind, key)
    return claim && isLive(claim, clock.now()) ? claim : undefined
  }

  page(kind: ClaimKind, after: string, limit: number): Claim[] {
    const { store, clock } = this.#components
    return store.page(kind, after, limit, clock.now())
  }

  /** A claim protects from the next mark on; what it names must be safe from this one already. */
  async #retain(hash: string, signal?: AbortSignal): Promise<void> {
    const found = await this.#components.retention.retain(hash, signal)
    if (!found) throw new BlobNotFoundError(`No node that answers holds ${hash}.`)
  }

  async #write(
    kind: ClaimKind,
    fields: Pick<Claim, 'key' | 'hash' | 'subject' | 'reason' | 'expiresMs'> & Partial<Claim>,
    signal?: AbortSignal,
  ): Promise<Claim> {
    const { mesh, store, clock } = this.#components
    requireMajority(mesh)
    const nowMs = clock.now()
    const known = store.find(kind, fields.key)
    const claim: Claim = {
      createdMs: known && isLive(known, nowMs) ? known.createdMs : nowMs,
      deleted: false,
      ...fields,
      kind,
      // Always later than what is replaced, whatever the clock of its writer showed.
      updatedMs: Math.max(nowMs, (known?.updatedMs ?? 0) + 1),
      peerId: mesh.self.peerId,
    }
    store.apply(claim, nowMs)
    await this.#spread(claim, signal)
    return claim
  }

  async #spread(claim: Claim, signal?: AbortSignal): Promise<void> {
    const { mesh } = this.#components
    const needed = quorumOf(1 + mesh.expectedPeers().length)
    const request: PinRequest = { op: 'keep', claims: [claim] }
    const payload = encodeMessage(request)
    const options = { timeoutMs: CLAIM_PUSH_TIMEOUT_MS, ...(signal && { signal }) }
    let kept = 1
    const pushes = mesh.peers().map(async ({ peerId }) => {
      await mesh.request(peerId, PIN_PROTOCOL, payload, options)
      kept += 1
    })
    await settled(pushes, () => kept >= needed)
    if (kept >= needed) return
    throw new QuorumNotReachedError(
      `${kept} of the ${needed} nodes that must know of it acknowledged the ${claim.kind}; ` +
        'it may be repeated.',
    )
  }
}

/** Waits for all, or a short while longer once it is enough. */
async function settled(tasks: Promise<void>[], enough: () => boolean): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const linger = new Promise<void>((resolve) => {
    const arm = (): void => {
      if (enough()) timer ??= setTimeout(resolve, STRAGGLER_WAIT_MS)
    }
    arm()
    for (const task of tasks) task.then(arm, () => undefined)
  })
  await Promise.race([Promise.allSettled(tasks), linger])
  clearTimeout(timer)
}
