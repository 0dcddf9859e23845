import { REPLICAS } from '../../shared/limits.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Mesh, NodeInfo } from '../mesh/mesh.ts'
import { requireMajority } from '../mesh/partition.ts'
import { MEMBERS_TICK_MS } from './constants.ts'
import type { CopyLedger, KnownNode } from './copy-ledger.ts'
import { Placement, type StorageNode } from './placement.ts'

export interface Member extends KnownNode {
  live: boolean
  /** Copies belong on it: it takes a share and is live, or not away for longer than the grace. */
  placed: boolean
  awaySeconds: number | null
}

export interface MembersComponents {
  mesh: Pick<Mesh, 'self' | 'peers' | 'expectedPeers' | 'on'>
  copies: Pick<CopyLedger, 'remember' | 'remembered'>
  log: Logger
}

export interface MembersInit {
  /** A node that is away for longer is treated as gone: its copies are made elsewhere. */
  awayGraceMs: number
  tickMs?: number
}

interface View {
  members: readonly Member[]
  /** Where copies belong. */
  placement: Placement
  /** Where copies can go right now. */
  livePlacement: Placement
  generation: string
}

/**
 * The nodes among which copies are placed. An allow-listed node is a member from the moment it was
 * first seen; it is remembered over restarts of this node, whose own absence counts for nobody's:
 * the grace of the others begins anew at every start.
 */
export class Members implements Startable {
  readonly #components: MembersComponents
  readonly #init: Required<MembersInit>
  readonly #known = new Map<string, KnownNode>()
  readonly #awaySinceMs = new Map<string, number>()
  readonly #changeListeners: (() => void)[] = []
  readonly #returnListeners: ((peerId: string) => void)[] = []
  #timer: NodeJS.Timeout | undefined
  #view: View

  constructor(components: MembersComponents, init: MembersInit) {
    this.#components = components
    this.#init = { tickMs: MEMBERS_TICK_MS, ...init }
    for (const node of components.copies.remembered()) this.#known.set(node.peerId, node)
    this.#view = this.#look()
    components.mesh.on('join', ({ peerId }) => {
      this.refresh()
      for (const listener of this.#returnListeners) listener(peerId)
    })
    components.mesh.on('leave', () => this.refresh())
  }

  start(): Promise<void> {
    this.#awaySinceMs.clear()
    this.refresh()
    this.#timer ??= setInterval(() => this.refresh(), this.#init.tickMs)
    return Promise.resolve()
  }

  stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    return Promise.resolve()
  }

  get selfId(): string {
    return this.#components.mesh.self.peerId
  }

  /** Changes whenever copies belong elsewhere than before. */
  get generation(): string {
    return this.#view.generation
  }

  /** Nodes that copies are placed on. */
  get placedCount(): number {
    return this.#view.placement.size
  }

  list(): readonly Member[] {
    return this.#view.members
  }

  isLive(peerId: string): boolean {
    return this.#view.members.some((member) => member.peerId === peerId && member.live)
  }

  /** Where the blob belongs, primary first; nodes that are away for a short time among them. */
  holders(hash: string): string[] {
    return this.#view.placement.place(hash, REPLICAS).map(({ peerId }) => peerId)
  }

  /** Where the blob belongs among the nodes that are here: holders and their stand-ins. */
  liveHolders(hash: string, copies: number): string[] {
    return this.#view.livePlacement.place(hash, copies).map(({ peerId }) => peerId)
  }

  /**
   * Copies that could exist if every node of the allow-list were here. A node that was never seen
   * counts: it may turn out to take copies.
   */
  copiesPossible(): number {
    const { mesh } = this.#components
    const takers = [mesh.self.peerId, ...mesh.expectedPeers()].filter((peerId) => {
      const node = peerId === mesh.self.peerId ? mesh.self : this.#known.get(peerId)
      return !node || takesCopies(node)
    })
    return Math.max(1, Math.min(REPLICAS, takers.length))
  }

  /** Everybody of the allow-list is here: what none of them has is nowhere. */
  isComplete(): boolean {
    return this.#components.mesh.expectedPeers().every((peerId) => this.isLive(peerId))
  }

  /** @throws PartitionMinorityError while most of the allow-list is out of reach */
  requireMajority(): void {
    requireMajority(this.#components.mesh)
  }

  onChange(listener: () => void): void {
    this.#changeListeners.push(listener)
  }

  /** A peer came, for the first time or again. */
  onReturn(listener: (peerId: string) => void): void {
    this.#returnListeners.push(listener)
  }

  refresh(): void {
    const before = this.#view.generation
    this.#view = this.#look()
    if (this.#view.generation === before) return
    const placed = this.#view.members.filter((member) => member.placed)
    const names = placed.map(({ name }) => name)
    this.#components.log.info({ placed: names }, 'copies are placed anew')
    this.#warnOfWeights(placed)
    for (const listener of this.#changeListeners) listener()
  }

  /** No node holds two copies of one blob, so more than a third of all weight is not to be had. */
  #warnOfWeights(placed: readonly Member[]): void {
    const total = placed.reduce((sum, { weight }) => sum + weight, 0)
    for (const { name, weight } of placed) {
      if (placed.length <= REPLICAS || weight * REPLICAS <= total) continue
      this.#components.log.warn({ name, weight, total }, 'node weighs more than it can hold')
    }
  }

  #look(): View {
    const { mesh } = this.#components
    const nowMs = performance.now()
    const live = new Map(mesh.peers().map((peer) => [peer.peerId, peer]))
    for (const peer of live.values()) this.#learn(peer)
    const members: Member[] = [{ ...mesh.self, ...this.#state(mesh.self, null) }]
    for (const peerId of mesh.expectedPeers()) {
      const node = this.#known.get(peerId)
      if (live.has(peerId)) this.#awaySinceMs.delete(peerId)
      else if (!this.#awaySinceMs.has(peerId)) this.#awaySinceMs.set(peerId, nowMs)
      const since = this.#awaySinceMs.get(peerId)
      const awayMs = since === undefined ? null : nowMs - since
      if (node) members.push({ ...node, ...this.#state(node, awayMs) })
    }
    const placed = members.filter((member) => member.placed)
    return {
      members,
      placement: new Placement(placed),
      livePlacement: new Placement(placed.filter((member) => member.live)),
      generation: generationOf(placed),
    }
  }

  #state(node: KnownNode, awayMs: number | null): Pick<Member, 'live' | 'placed' | 'awaySeconds'> {
    const gone = awayMs !== null && awayMs > this.#init.awayGraceMs
    return {
      live: awayMs === null,
      placed: takesCopies(node) && !gone,
      awaySeconds: awayMs === null ? null : Math.round(awayMs / 1000),
    }
  }

  #learn(info: NodeInfo): void {
    const { peerId, name, weight, zone, storage } = info
    const node = { peerId, name, weight, zone, storage }
    const known = this.#known.get(peerId)
    if (known && JSON.stringify(known) === JSON.stringify(node)) return
    this.#known.set(peerId, node)
    this.#components.copies.remember(node)
  }
}

function takesCopies(node: Pick<KnownNode, 'storage' | 'weight'>): boolean {
  return node.storage && node.weight > 0
}

function generationOf(nodes: readonly StorageNode[]): string {
  return nodes
    .map(({ peerId, weight, zone }) => `${peerId} ${weight} ${zone}`)
    .toSorted()
    .join('\n')
}
