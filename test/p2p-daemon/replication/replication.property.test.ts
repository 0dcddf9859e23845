import { Readable } from 'node:stream'

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { REPLICAS } from '../../../shared/limits.ts'
import { until } from '../../helpers/mesh.ts'
import { ReplicaCluster } from '../../helpers/replica-cluster.ts'

const NODES = 5

/** Each run takes a second or two, most of it waiting for nodes to come to terms. */
const RUNS = 12
const STEPS_MAX = 30

/** What a put may be answered with while nodes are away. */
const REFUSALS = ['BZZZ_QUORUM_NOT_REACHED', 'BZZZ_PARTITION_MINORITY']

type Step =
  | { op: 'put'; node: number; ack: '1' | 'quorum' | 'all'; wait: boolean }
  | { op: 'read'; node: number; blob: number }
  | { op: 'kill' | 'stop' | 'return' | 'cut' | 'heal' | 'drain'; node: number }
  | { op: 'wipe'; node: number }
  | { op: 'rot'; node: number; blob: number }
  | { op: 'delete'; blob: number }
  | { op: 'wait'; ms: number }

const node = fc.nat(NODES - 1)
const blob = fc.nat(100)
const away = (op: 'kill' | 'stop' | 'return' | 'cut' | 'heal' | 'drain') =>
  fc.record({ op: fc.constant(op), node })

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constant('put' as const),
      node,
      ack: fc.constantFrom('1', 'quorum', 'all'),
      wait: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('read' as const), node, blob }) },
  { weight: 2, arbitrary: away('kill') },
  { weight: 1, arbitrary: away('stop') },
  { weight: 3, arbitrary: away('return') },
  { weight: 1, arbitrary: away('cut') },
  { weight: 2, arbitrary: away('heal') },
  { weight: 1, arbitrary: away('drain') },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('wipe' as const), node }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('rot' as const), node, blob }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('delete' as const), blob }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant('wait' as const), ms: fc.constantFrom(20, 100, 300) }),
  },
)

/** What was acknowledged, and what the run itself destroyed. */
class Model {
  readonly cluster = new ReplicaCluster({ awayGraceMs: 150, ackTimeoutMs: 200 })
  readonly acknowledged = new Map<string, Buffer>()
  readonly #puts: Promise<void>[] = []
  readonly #offences: string[] = []
  #deleting = ''
  #count = 0

  async start(): Promise<void> {
    await this.cluster.addAll(NODES)
    this.cluster.onDelete = async (peerId, hash) => {
      if (hash === this.#deleting) return
      const others = (await this.cluster.copies(hash)).filter((other) => other !== peerId)
      if (others.length >= REPLICAS) return
      this.#offences.push(`${peerId} dropped ${hash.slice(0, 8)}, left on ${others.join()}`)
    }
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const next of steps) {
      await this.#step(next)
      await this.#check()
    }
  }

  /** Everybody is back: every blob is on its holders and nowhere else, and nothing is owed. */
  async settle(): Promise<void> {
    const { cluster } = this
    cluster.onFetch = () => Promise.resolve()
    for (const { peerId, process, draining } of cluster.nodes.values()) {
      cluster.node(peerId).draining = false
      if (!process) await cluster.start(peerId)
      else cluster.network.heal(peerId)
      if (draining) cluster.node(peerId).process!.mesh.update({ weight: 1 })
    }
    await Promise.all(this.#puts)
    let unsettled = ''
    const isSettled = async (): Promise<boolean> => {
      unsettled = await this.#unsettled()
      return unsettled === ''
    }
    await until(isSettled, 'every copy', 20_000).catch(() => expect(unsettled).toBe(''))
    for (const [hash, bytes] of this.acknowledged) {
      for (const { peerId } of cluster.live()) {
        expect((await cluster.read(peerId, hash)).equals(bytes)).toBe(true)
      }
    }
    expect(this.#offences).toEqual([])
  }

  async #unsettled(): Promise<string> {
    const { cluster } = this
    for (const { peerId } of cluster.live()) {
      const { owed, handedOff } = await cluster.running(peerId).status()
      if (owed + handedOff > 0) return `${peerId} owes ${owed}, stands in for ${handedOff}`
      if (!cluster.running(peerId).rebalancer.isSettled()) return `${peerId} scans`
    }
    for (const hash of this.acknowledged.keys()) {
      const wanted = cluster.holders('n0', hash).join()
      const found = (await this.cluster.copies(hash)).join()
      if (wanted !== found) return `${hash.slice(0, 8)} is on ${found}, not ${wanted}`
    }
    return ''
  }

  async #step(next: Step): Promise<void> {
    const { cluster } = this
    if (next.op === 'wait') return new Promise((resolve) => setTimeout(resolve, next.ms))
    if (next.op === 'delete') return this.#delete(next.blob)
    const peerId = `n${next.node}`
    const { process } = cluster.node(peerId)
    switch (next.op) {
      case 'put':
        return this.#put(peerId, next.ack, next.wait)
      case 'read':
        return this.#read(peerId, next.blob)
      case 'kill':
        return cluster.kill(peerId)
      case 'stop':
        return cluster.stop(peerId)
      case 'return':
        return process ? undefined : cluster.start(peerId)
      case 'cut':
        return process && cluster.network.isolate(peerId)
      case 'heal':
        return process && cluster.network.heal(peerId)
      case 'drain':
        cluster.node(peerId).draining = true
        return process?.mesh.update({ weight: 0 })
      case 'wipe':
        if (!process) await this.#destroy([peerId], () => cluster.wipe(peerId))
        return undefined
      case 'rot':
        return this.#rot(peerId, next.blob)
    }
  }

  async #put(peerId: string, ack: '1' | 'quorum' | 'all', wait: boolean): Promise<void> {
    const { process } = this.cluster.node(peerId)
    if (!process) return
    this.#count += 1
    const bytes = Buffer.from(`blob ${this.#count}`)
    // What comes as a stream is pulled by its holders, what is at hand is sent to them.
    const source = this.#count % 2 === 0 ? bytes : Readable.from([bytes])
    const putting = process.replication.blobs.put(source, { ack }).then(
      ({ hash }) => void this.acknowledged.set(hash, bytes),
      (error: { code?: string }) => {
        // A put that was under way when its node died fails in whatever way.
        if (this.cluster.node(peerId).process !== process) return
        expect(REFUSALS).toContain(error.code)
      },
    )
    this.#puts.push(putting)
    if (wait) await putting
  }

  async #read(peerId: string, index: number): Promise<void> {
    const hash = this.#pick(index)
    const { process } = this.cluster.node(peerId)
    if (!process || hash === undefined) return
    const reachable = new Set(process.mesh.peers().map((peer) => peer.peerId))
    reachable.add(peerId)
    const before = (await this.cluster.copies(hash)).filter((other) => reachable.has(other))
    const read = await this.cluster.read(peerId, hash).catch(() => undefined)
    const after = (await this.cluster.copies(hash)).filter((other) => reachable.has(other))
    // Where one copy stayed in reach throughout, the read must have found it.
    if (before.some((other) => after.includes(other))) expect(read).toBeDefined()
    if (read) expect(read.equals(this.acknowledged.get(hash)!)).toBe(true)
  }

  async #rot(peerId: string, index: number): Promise<void> {
    const hash = this.#pick(index)
    if (hash === undefined || !(await this.cluster.copies(hash)).includes(peerId)) return
    await this.#destroy([peerId], () => this.cluster.corrupt(peerId, hash), hash)
    // As a scrub would find it; a dead node's is found by its next scrub.
    await this.cluster.node(peerId).store.verify(hash)
  }

  async #delete(index: number): Promise<void> {
    const hash = this.#pick(index)
    // A collection needs everybody, and what is being moved at that moment may come back.
    if (hash === undefined || this.cluster.live().length < NODES) return
    this.acknowledged.delete(hash)
    this.#deleting = hash
    for (const { store } of this.cluster.nodes.values()) await store.delete(hash)
    this.#deleting = ''
  }

  /** Damage done from outside: what it took the last good copy of is nobody's fault. */
  async #destroy(
    peerIds: readonly string[],
    damage: () => void | Promise<void>,
    only?: string,
  ): Promise<void> {
    for (const hash of only === undefined ? [...this.acknowledged.keys()] : [only]) {
      const left = (await this.cluster.copies(hash)).filter((peerId) => !peerIds.includes(peerId))
      if (left.length === 0) this.acknowledged.delete(hash)
    }
    await damage()
  }

  #pick(index: number): string | undefined {
    const hashes = [...this.acknowledged.keys()]
    return hashes.length === 0 ? undefined : hashes[index % hashes.length]
  }

  async #check(): Promise<void> {
    for (const hash of this.acknowledged.keys()) {
      expect(await this.cluster.copies(hash), hash).not.toEqual([])
    }
    expect(this.#offences).toEqual([])
  }
}

describe('replication', () => {
  it('loses nothing acknowledged and comes to rest with every copy in its place', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: STEPS_MAX }), async (steps) => {
        const model = new Model()
        try {
          await model.start()
          await model.run(steps)
          await model.settle()
        } finally {
          await model.cluster.dispose()
        }
      }),
      { numRuns: RUNS, endOnFailure: true },
    )
  }, 60_000)
})
