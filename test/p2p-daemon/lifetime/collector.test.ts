import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import type { Collection } from '../../../p2p-daemon/lifetime/collection.ts'
import { SWEEP_PAGE_BLOBS } from '../../../p2p-daemon/lifetime/constants.ts'
import {
  createLifetimeNode,
  keepRecord,
  ManualClock,
  recordOf,
  type LifetimeNode,
} from '../../helpers/lifetime-node.ts'
import { MemoryNetwork } from '../../helpers/memory-mesh.ts'

const GRACE_MS = 86_400_000
const WHO = { subject: 'tester', reason: 'a test' }

let clock: ManualClock
let network: MemoryNetwork
let nodes: LifetimeNode[]

function join(...peerIds: string[]): LifetimeNode[] {
  const joined = peerIds.map((peerId) =>
    createLifetimeNode(network, { peerId, clock, graceMs: GRACE_MS }),
  )
  nodes.push(...joined)
  return joined
}

beforeEach(() => {
  clock = new ManualClock()
  network = new MemoryNetwork()
  nodes = []
})

afterEach(() => {
  for (const node of nodes) node.close()
})

function collect(node: LifetimeNode, dryRun = false): Promise<Collection> {
  return node.lifetime.collector.collect({ dryRun }).done
}

async function put(node: LifetimeNode, ...texts: string[]): Promise<string[]> {
  const puts = await Promise.all(texts.map((text) => node.store.put(Buffer.from(text))))
  return puts.map(({ hash }) => hash)
}

async function has(node: LifetimeNode, hash: string): Promise<boolean> {
  return (await node.store.stat(hash)) !== undefined
}

describe('collector', () => {
  it('deletes after the grace what nothing refers to, and says so before', async () => {
    const [node] = join('a') as [LifetimeNode]
    const [kept, garbage] = (await put(node, 'kept', 'garbage')) as [string, string]
    const record = await keepRecord(node, recordOf(Buffer.from('kept')))
    expect(await collect(node)).toMatchObject({ outcome: 'done', unreferenced: 1, deleted: 0 })
    clock.nowMs += GRACE_MS - 1
    expect(await collect(node, true)).toMatchObject({ unreferenced: 1, candidates: 0 })
    clock.nowMs += 1
    expect(await collect(node, true)).toMatchObject({
      dryRun: true,
      outcome: 'done',
      roots: 2,
      checked: 3,
      unreferenced: 1,
      unreferencedBytes: 7,
      candidates: 1,
      bytes: 7,
      examples: [{ hash: garbage, size: 7 }],
      deleted: 0,
    })
    expect(await has(node, garbage)).toBe(true)
    expect(await collect(node)).toMatchObject({ outcome: 'done', deleted: 1, deletedBytes: 7 })
    expect(await has(node, garbage)).toBe(false)
    expect(await has(node, kept)).toBe(true)
    expect(await has(node, record)).toBe(true)
    const metrics = await node.registry.metrics()
    expect(metrics).toContain('bzzz_gc_deleted_blobs_total 1')
    expect(metrics).toContain('bzzz_gc_deleted_bytes_total 7')
    expect(metrics).toContain('bzzz_gc_runs_total{outcome="done"} 2')
    expect(metrics).toContain('bzzz_gc_candidate_bytes 0')
  })

  it('counts no grace from a dry run', async () => {
    const [node] = join('a') as [LifetimeNode]
    await put(node, 'garbage')
    await collect(node, true)
    clock.nowMs += GRACE_MS
    expect(await collect(node)).toMatchObject({ candidates: 0, deleted: 0 })
  })

  it('starts the grace anew with a put, a touch or a reference in between', async () => {
    const [node] = join('a') as [LifetimeNode]
    const [again, touched, pinned] = (await put(node, 'again', 'touched', 'pinned')) as [
      string,
      string,
      string,
    ]
    await collect(node)
    clock.nowMs += GRACE_MS
    await put(node, 'again')
    await node.lifetime.retention.retain(touched)
    await node.lifetime.pins.pin(pinned, WHO)
    expect(await collect(node)).toMatchObject({ unreferenced: 2, deleted: 0 })
    await node.lifetime.pins.unpin(pinned)
    clock.nowMs += GRACE_MS
    expect(await collect(node)).toMatchObject({ deleted: 2 })
    expect([await has(node, again), await has(node, touched)]).toEqual([false, false])
    expect(await has(node, pinned)).toBe(true)
    clock.nowMs += GRACE_MS
    expect(await collect(node)).toMatchObject({ deleted: 1 })
  })

  it('keeps a leased blob until the lease and a grace are over', async () => {
    const [node] = join('a') as [LifetimeNode]
    const [leased] = (await put(node, 'leased')) as [string]
    await node.lifetime.pins.lease(leased, 3 * GRACE_MS, WHO)
    for (let day = 0; day < 3; day += 1) {
      await collect(node)
      clock.nowMs += GRACE_MS
    }
    expect(await collect(node)).toMatchObject({ unreferenced: 1, deleted: 0 })
    clock.nowMs += GRACE_MS
    expect(await collect(node)).toMatchObject({ deleted: 1 })
  })

  it('sweeps page after page', async () => {
    const [node] = join('a') as [LifetimeNode]
    const count = 2 * SWEEP_PAGE_BLOBS + 30
    await put(node, ...Array.from({ length: count }, (_, index) => `garbage ${index}`))
    await collect(node)
    clock.nowMs += GRACE_MS
    const result = await collect(node)
    expect(result).toMatchObject({ candidates: count, deleted: count })
    expect(result.examples.length).toBeLessThan(count)
    expect(await node.store.usage()).toEqual({ blobs: 0, bytes: 0 })
  })

  it('keeps what only another node refers to', async () => {
    const [a, b] = join('a', 'b', 'c') as [LifetimeNode, LifetimeNode]
    const [hash] = (await put(a, 'content')) as [string]
    await keepRecord(b, recordOf(Buffer.from('content')))
    await collect(a)
    clock.nowMs += GRACE_MS
    expect(await collect(a)).toMatchObject({ outcome: 'done', unreferenced: 0, deleted: 0 })
    expect(await has(a, hash)).toBe(true)
  })
})

describe('collector, when it may not delete', () => {
  /** Garbage on `a` that the next run would delete. */
  async function ripe(): Promise<{ a: LifetimeNode; b: LifetimeNode; hash: string }> {
    const [a, b] = join('a', 'b', 'c') as [LifetimeNode, LifetimeNode]
    const [hash] = (await put(a, 'garbage')) as [string]
    expect(await collect(a)).toMatchObject({ outcome: 'done', unreferenced: 1 })
    clock.nowMs += GRACE_MS
    return { a, b, hash }
  }

  async function expectIncomplete(a: LifetimeNode, hash: string, reason: RegExp): Promise<void> {
    const result = await collect(a)
    expect(result).toMatchObject({ outcome: 'incomplete', deleted: 0 })
    expect(result.reason).toMatch(reason)
    expect(await has(a, hash)).toBe(true)
  }

  it('ends when a member is away, and deletes once it is back', async () => {
    const { a, hash } = await ripe()
    network.isolate('c')
    await expectIncomplete(a, hash, /^c did not tell its roots/)
    network.heal('c')
    expect(await collect(a)).toMatchObject({ outcome: 'done', deleted: 1 })
  })

  it('ends when a member fails in the middle of its roots', async () => {
    const { a, b, hash } = await ripe()
    const contents = b.records.contents.bind(b.records)
    b.records.contents = () => {
      throw new Error('disk')
    }
    await expectIncomplete(a, hash, /^b did not tell its roots/)
    b.records.contents = contents
    expect(await collect(a)).toMatchObject({ outcome: 'done', deleted: 1 })
  })

  it('ends when a member expects others', async () => {
    const { a, b, hash } = await ripe()
    b.mesh.expectedPeers = () => ['a', 'c', 'stranger']
    await expectIncomplete(a, hash, /^b has another allow-list$/)
  })

  it('ends when a member lacks a reason that this node knows', async () => {
    const { a, b, hash } = await ripe()
    const handler = b.mesh.handlers.get('/bzzz/roots/1.0.0')!
    b.mesh.handlers.set('/bzzz/roots/1.0.0', async (request) => {
      const answer = JSON.parse(Buffer.from(await handler(request)).toString()) as object
      const older = 'sources' in answer ? { ...answer, sources: ['records'] } : answer
      return Buffer.from(JSON.stringify(older))
    })
    await expectIncomplete(a, hash, /^b does not know about pins, threads, exchanges$/)
  })

  it('asks a member for reasons that only that one knows', async () => {
    const { a, b, hash } = await ripe()
    const handler = b.mesh.handlers.get('/bzzz/roots/1.0.0')!
    b.mesh.handlers.set('/bzzz/roots/1.0.0', async (request) => {
      const { op, source } = JSON.parse(Buffer.from(request.payload).toString()) as {
        op: string
        source?: string
      }
      if (source === 'threads') {
        const hashes = Buffer.from(hash, 'hex').toString('base64')
        return Buffer.from(JSON.stringify({ hashes, next: null }))
      }
      const answer = JSON.parse(Buffer.from(await handler(request)).toString()) as {
        sources: string[]
      }
      const sources = op === 'open' ? { sources: [...answer.sources, 'threads'] } : {}
      return Buffer.from(JSON.stringify({ ...answer, ...sources }))
    })
    expect(await collect(a)).toMatchObject({ outcome: 'done', unreferenced: 0, deleted: 0 })
    expect(await has(a, hash)).toBe(true)
  })

  it('stops a sweep when a hold is taken elsewhere', async () => {
    const { a, b, hash } = await ripe()
    const { collector } = a.lifetime
    const plan = collector.plan({ dryRun: false })
    for await (const _step of collector.steps(plan, new AbortController().signal)) {
      if (plan.phase === 'walk') await b.lifetime.pins.holdGC('backup', 60_000, WHO)
    }
    expect(plan).toMatchObject({ outcome: 'incomplete', candidates: 1, deleted: 0 })
    expect(plan.reason).toMatch(/^backup holds collecting until .* for tester: a test$/)
    expect(await has(a, hash)).toBe(true)
  })

  it('stops a sweep when a member goes away, or a new one is expected', async () => {
    const { a, hash } = await ripe()
    const { collector } = a.lifetime
    const gone = collector.plan({ dryRun: false })
    for await (const _step of collector.steps(gone, new AbortController().signal)) {
      if (gone.phase === 'walk') network.isolate('b')
    }
    expect(gone).toMatchObject({ outcome: 'incomplete', reason: 'b cannot be reached', deleted: 0 })
    network.heal('b')
    const joined = collector.plan({ dryRun: false })
    for await (const _step of collector.steps(joined, new AbortController().signal)) {
      if (joined.phase === 'walk' && nodes.length === 3) join('d')
    }
    expect(joined).toMatchObject({ outcome: 'incomplete', deleted: 0 })
    expect(joined.reason).toBe('the allow-list changed meanwhile')
    expect(await has(a, hash)).toBe(true)
  })

  it('does not trust marks that are older than a quarter of the grace', async () => {
    const [node] = join('a') as [LifetimeNode]
    const [hash] = (await put(node, 'content')) as [string]
    await collect(node)
    const { collector } = node.lifetime
    const plan = collector.plan({ dryRun: false })
    const run = collector.steps(plan, new AbortController().signal)
    // The records are marked; only then the writer, well within its time, writes another one.
    await run.next()
    await keepRecord(node, recordOf(Buffer.from('content')))
    clock.nowMs += GRACE_MS
    while (!(await run.next()).done) continue
    expect(plan).toMatchObject({ outcome: 'incomplete', deleted: 0 })
    expect(plan.reason).toMatch(/^the marks are older than 21600 s/)
    expect(await has(node, hash)).toBe(true)
  })

  it('runs one collection at a time and can be ended', async () => {
    const { a, hash } = await ripe()
    const { collector } = a.lifetime
    const { done } = collector.collect({ dryRun: false })
    expect(() => collector.collect({ dryRun: true })).toThrow(
      expect.objectContaining({ code: 'BZZZ_GC_RUNNING' }),
    )
    expect(await collector.cancel()).toMatchObject({ state: 'ended', outcome: 'cancelled' })
    await done
    expect(await has(a, hash)).toBe(true)
    expect(hash).toBe(hashBytes(Buffer.from('garbage')))
    expect(await collect(a)).toMatchObject({ outcome: 'done', deleted: 1 })
  })

  it('reports a fault of its own disk and goes on another time', async () => {
    const { a, hash } = await ripe()
    const remove = a.store.delete.bind(a.store)
    a.store.delete = () => Promise.reject(new Error('EROFS'))
    expect(await collect(a)).toMatchObject({ outcome: 'failed', deleted: 0 })
    a.store.delete = remove
    expect(await has(a, hash)).toBe(true)
    expect(await collect(a)).toMatchObject({ outcome: 'done', deleted: 1 })
  })
})
