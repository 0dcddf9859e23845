import { hashBytes } from '../../../shared/blob/hash.ts'
import { REPLICAS } from '../../../shared/limits.ts'
import { place, quorumOf } from '../../../p2p-daemon/replication/placement.ts'
import type { DeleteOptions } from '../../../p2p-daemon/store/blob-store.ts'
import {
  createLifetimeNode,
  keepRecord,
  ManualClock,
  recordOf,
  type LifetimeNode,
} from '../../helpers/lifetime-node.ts'
import { MemoryNetwork } from '../../helpers/memory-mesh.ts'

export const GRACE_MS = 1_000

/** One thing that happens. Numbers choose a node and a content by their remainder. */
export type Event =
  | { do: 'put' | 'retain' | 'record' | 'pin' | 'unpin' | 'release'; node: number; content: number }
  | { do: 'lease'; node: number; content: number; ttlMs: number }
  | { do: 'advance'; ms: number }
  | { do: 'begin' | 'crash' | 'collect' | 'isolate' | 'heal'; node: number }
  | { do: 'steps'; node: number; count: number }

interface Content {
  bytes: Buffer
  hash: string
  /** When somebody last put or retained it on behalf of a writer. */
  touchedMs: number
  named: boolean
  pinned: boolean
  leases: Map<string, number>
}

type Run = AsyncGenerator<void>

/**
 * Nodes, writers and collections that a test moves one step at a time. What must never happen is
 * looked at in the moment of every deletion, from outside: by what the writers were promised.
 */
export class GCWorld {
  readonly clock = new ManualClock()
  readonly network = new MemoryNetwork()
  readonly nodes: LifetimeNode[]
  readonly contents: Content[]
  readonly problems: string[] = []
  deletions = 0
  #isolated = new Set<string>()
  #everIsolated = false
  readonly #runs = new Map<LifetimeNode, Run>()
  /** When a copy was last put or touched: node and hash. */
  readonly #copyTouchedMs = new Map<string, number>()

  constructor(init: { nodes: number; contents: number }) {
    const peerIds = Array.from({ length: init.nodes }, (_, index) => `node-${index}`)
    this.nodes = peerIds.map((peerId) =>
      createLifetimeNode(this.network, { peerId, clock: this.clock, graceMs: GRACE_MS }),
    )
    this.contents = Array.from({ length: init.contents }, (_, index) => {
      const bytes = Buffer.from(`content ${index}`)
      const hash = hashBytes(bytes)
      return { bytes, hash, touchedMs: -Infinity, named: false, pinned: false, leases: new Map() }
    })
    for (const node of this.nodes) this.#watch(node)
  }

  async play(event: Event): Promise<void> {
    if (event.do === 'advance') {
      this.clock.nowMs += event.ms
      return
    }
    const node = this.nodes[event.node % this.nodes.length]!
    if ('content' in event) {
      const content = this.contents[event.content % this.contents.length]!
      await this.#write(event.do, node, content, 'ttlMs' in event ? event.ttlMs : 0)
    } else if (event.do === 'isolate' || event.do === 'heal') {
      await this.#connect(event.do, node)
    } else {
      await this.#collect(event.do, node, 'count' in event ? event.count : 1)
    }
    await this.#lookForLosses()
  }

  /** Everybody is back, nothing is pinned or leased, and collections run until nothing is left. */
  async settle(): Promise<void> {
    for (const node of this.nodes) await this.play({ do: 'heal', node: this.nodes.indexOf(node) })
    for (const [index, content] of this.contents.entries()) {
      await this.play({ do: 'unpin', node: 0, content: index })
      content.leases.clear()
    }
    this.clock.nowMs += 100 * GRACE_MS
    for (let round = 0; round < 3; round += 1) {
      for (let node = 0; node < this.nodes.length; node += 1) {
        await this.play({ do: 'collect', node })
      }
      this.clock.nowMs += GRACE_MS + 1
    }
  }

  async holdersOf(content: Content): Promise<LifetimeNode[]> {
    const stats = await Promise.all(this.nodes.map((node) => node.store.stat(content.hash)))
    return this.nodes.filter((_, index) => stats[index] !== undefined)
  }

  close(): void {
    for (const node of this.nodes) node.close()
  }

  async #write(what: string, node: LifetimeNode, content: Content, ttlMs: number): Promise<void> {
    const { pins, retention } = node.lifetime
    const who = { subject: 'writer', reason: 'property' }
    const nowMs = this.clock.now()
    const tolerated = (work: Promise<unknown>): Promise<unknown> => work.catch(ifRefused)
    switch (what) {
      case 'put':
        return this.#put(node, content)
      case 'retain':
        if (await retention.retain(content.hash)) content.touchedMs = nowMs
        return
      case 'record':
        return this.#record(node, content)
      case 'pin':
        if (await tolerated(pins.pin(content.hash, who))) content.pinned = true
        return
      case 'unpin':
        if (!pins.find('pin', content.hash)) return
        content.pinned = false
        await tolerated(pins.unpin(content.hash))
        return
      case 'lease': {
        const lease = (await tolerated(pins.lease(content.hash, ttlMs, who))) as
          | { key: string }
          | undefined
        if (lease) content.leases.set(lease.key, nowMs + ttlMs)
        return
      }
      case 'release': {
        const [id] = content.leases.keys()
        if (id === undefined) return
        content.leases.delete(id)
        await tolerated(pins.release(id))
      }
    }
  }

  /** As the replicated store does: here, and on every holder in reach; a quorum or no promise. */
  async #put(node: LifetimeNode, content: Content): Promise<void> {
    const here = [node.mesh.self, ...node.mesh.peers()]
    const holders = new Set(place(here, content.hash, REPLICAS).map(({ peerId }) => peerId))
    const targets = this.nodes.filter((other) => other === node || holders.has(other.peerId))
    for (const target of targets) await target.store.put(content.bytes)
    if (targets.length < this.#quorum()) return
    content.touchedMs = this.clock.now()
    node.lifetime.retention.note({ hash: content.hash, sizeBytes: content.bytes.length })
  }

  /** The record lies with others than the content; a writer takes half a grace for it at most. */
  async #record(node: LifetimeNode, content: Content): Promise<void> {
    if (this.clock.now() - content.touchedMs > GRACE_MS / 2) return
    const reach = this.nodes.filter(
      (other) => other === node || this.network.reachable(node.peerId, other.peerId),
    )
    if (reach.length < this.#quorum()) return
    const record = recordOf(content.bytes)
    for (const holder of reach.slice(0, this.#quorum())) await keepRecord(holder, record)
    content.named = true
  }

  async #collect(what: string, node: LifetimeNode, count: number): Promise<void> {
    if (what === 'crash') {
      this.#runs.delete(node)
    } else if (what === 'collect') {
      for await (const _step of this.#newRun(node)) continue
    } else if (what === 'begin' || !this.#runs.has(node)) {
      this.#runs.set(node, this.#newRun(node))
    } else {
      for (let step = 0; step < count; step += 1) {
        if ((await this.#runs.get(node)!.next()).done) break
      }
    }
  }

  #newRun(node: LifetimeNode): Run {
    const { collector } = node.lifetime
    return collector.steps(collector.plan({ dryRun: false }), new AbortController().signal)
  }

  async #connect(what: 'isolate' | 'heal', node: LifetimeNode): Promise<void> {
    if (what === 'isolate') {
      this.#isolated.add(node.peerId)
      this.#everIsolated = this.nodes.length > 1
      this.network.isolate(node.peerId)
      return
    }
    if (!this.#isolated.delete(node.peerId)) return
    this.network.heal(node.peerId)
    for (const other of this.nodes) {
      if (!this.network.reachable(node.peerId, other.peerId)) continue
      await node.lifetime.sync.pull(other.peerId)
      await other.lifetime.sync.pull(node.peerId)
    }
  }

  #watch(node: LifetimeNode): void {
    const { store } = node
    const touch = store.touch.bind(store)
    const put = store.put.bind(store)
    const remove = store.delete.bind(store)
    const note = (hash: string): void => {
      this.#copyTouchedMs.set(`${node.peerId} ${hash}`, this.clock.now())
    }
    store.touch = async (hash) => {
      note(hash)
      return touch(hash)
    }
    store.put = async (source, options) => {
      const result = await put(source, options)
      note(result.hash)
      return result
    }
    store.delete = async (hash: string, options?: DeleteOptions) => {
      const deleted = await remove(hash, options)
      if (deleted) this.#judge(node, hash)
      return deleted
    }
  }

  #judge(node: LifetimeNode, hash: string): void {
    this.deletions += 1
    const nowMs = this.clock.now()
    const touchedMs = this.#copyTouchedMs.get(`${node.peerId} ${hash}`) ?? -Infinity
    if (nowMs < touchedMs + GRACE_MS) {
      this.problems.push(`${node.peerId} deleted ${hash} within the grace of a put`)
    }
    const content = this.contents.find((candidate) => candidate.hash === hash)
    // A cut off copy may go; that the others stay is looked at elsewhere.
    if (content && this.#isReferenced(content) && !this.#everIsolated) {
      this.problems.push(`${node.peerId} deleted ${content.bytes.toString()} that is referenced`)
    }
  }

  #isReferenced(content: Content): boolean {
    const leased = [...content.leases.values()].some((untilMs) => untilMs > this.clock.now())
    return content.named || content.pinned || leased
  }

  async #lookForLosses(): Promise<void> {
    for (const content of this.contents) {
      if (!this.#isReferenced(content)) continue
      const holders = await this.holdersOf(content)
      if (holders.length === 0)
        this.problems.push(`${content.bytes.toString()} is referenced and lost`)
    }
  }

  #quorum(): number {
    return quorumOf(Math.min(REPLICAS, this.nodes.length))
  }
}

function ifRefused(error: unknown): undefined {
  const code = (error as { code?: string }).code ?? ''
  if (!REFUSALS.has(code)) throw error
  return undefined
}

const REFUSALS = new Set([
  'BZZZ_QUORUM_NOT_REACHED',
  'BZZZ_PARTITION_MINORITY',
  'BZZZ_BLOB_NOT_FOUND',
  'BZZZ_PIN_NOT_FOUND',
  'BZZZ_LEASE_NOT_FOUND',
])
