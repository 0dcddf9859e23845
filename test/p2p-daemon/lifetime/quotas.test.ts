import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import { InvalidConfigError } from '../../../shared/errors.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { composeQuotas } from '../../../p2p-daemon/lifetime/compose-quotas.ts'
import { RESERVATION_TTL_MS } from '../../../p2p-daemon/lifetime/constants.ts'
import { parseQuotas, QuotaLimits } from '../../../p2p-daemon/lifetime/quota-limits.ts'
import { rank } from '../../../p2p-daemon/replication/placement.ts'
import { RecordStore } from '../../../p2p-daemon/records/record-store.ts'
import { ManualClock, recordOf } from '../../helpers/lifetime-node.ts'
import { MemoryNetwork } from '../../helpers/memory-mesh.ts'

const LIMIT = 1_000

interface QuotaNode {
  peerId: string
  records: RecordStore
  part: ReturnType<typeof composeQuotas>
}

let dir: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'bzzz-quotas-'))
})

afterEach(() => {
  rmSync(dir, { recursive: true })
})

class Cluster {
  readonly network = new MemoryNetwork()
  readonly clock = new ManualClock()
  readonly nodes: QuotaNode[]

  constructor(text = `apollo=${LIMIT}`) {
    this.nodes = ['a', 'b', 'c'].map((peerId) => {
      const mesh = this.network.join(peerId)
      const records = new RecordStore(':memory:')
      const part = composeQuotas(
        { mesh, records, log: createSilentLogger(), clock: this.clock },
        { file: join(dir, 'quotas.json'), text, usageFile: ':memory:' },
      )
      return { peerId, records, part }
    })
  }

  /** The node that keeps the account of apollo while all are here. */
  keeper(): QuotaNode {
    const nodes = this.nodes.map(({ peerId }) => ({ peerId, weight: 1, zone: 'default' }))
    const [first] = rank(nodes, 'quota\napollo')
    return this.nodes.find(({ peerId }) => peerId === first!.peerId)!
  }

  others(): [QuotaNode, QuotaNode] {
    return this.nodes.filter((node) => node !== this.keeper()) as [QuotaNode, QuotaNode]
  }

  close(): void {
    for (const { part, records } of this.nodes) {
      part.close()
      records.close()
    }
  }
}

function admission(node: QuotaNode, content: Buffer) {
  const row = { project: 'apollo', hash: hashBytes(content), sizeBytes: content.length }
  return node.part.quotas.admit(row)
}

/** Content of a size, one for each number: a text would be the same for all that are cut short. */
function contentOf(number: number, sizeBytes: number): Buffer {
  return Buffer.alloc(sizeBytes, Uint8Array.of(number))
}

function used(node: QuotaNode): number {
  return node.part.quotas.page('', 10).find(({ project }) => project === 'apollo')?.used ?? 0
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

describe('quotas', () => {
  it('are kept by concurrent writers on all nodes', async () => {
    const writer = fc.record({
      node: fc.nat({ max: 2 }),
      number: fc.nat({ max: 3 }),
      sizeBytes: fc.integer({ min: 1, max: 400 }),
      delays: fc.tuple(fc.nat({ max: 6 }), fc.nat({ max: 6 })),
      fails: fc.boolean(),
    })
    let refusals = 0
    const property = fc.asyncProperty(
      fc.array(writer, { minLength: 8, maxLength: 25 }),
      async (all) => {
        const cluster = new Cluster()
        const written = new Map<string, number>()
        const total = (): number => [...written.values()].reduce((sum, size) => sum + size, 0)
        const write = async (each: (typeof all)[number]): Promise<void> => {
          await turns(each.delays[0])
          const content = contentOf(each.number, each.sizeBytes)
          const node = cluster.nodes[each.node]!
          try {
            const { release } = await admission(node, content)
            await turns(each.delays[1])
            if (each.fails) return await release()
          } catch (error) {
            expect(error).toMatchObject({ code: 'BZZZ_QUOTA_EXCEEDED', quota: { limit: LIMIT } })
            refusals += 1
            return
          }
          // The record lies with two of three; the keeper of the account may not be one of them.
          for (const offset of [0, 1]) {
            const holder = cluster.nodes[(each.number + offset) % 3]!
            holder.records.add(recordOf(content, `${each.node}/${hashBytes(content)}`))
          }
          written.set(hashBytes(content), content.length)
          expect(total()).toBeLessThanOrEqual(LIMIT)
        }
        await Promise.all(all.map(write))
        for (const node of cluster.nodes) {
          for (const other of cluster.nodes) {
            if (other !== node) await node.part.sync.pull(other.peerId)
          }
          expect(used(node)).toBe(total())
        }
        // What was given back or counted is not held against the next writer.
        const left = LIMIT - total()
        if (left > 0) await admission(cluster.nodes[0]!, contentOf(99, left))
        await expect(admission(cluster.nodes[1]!, contentOf(98, left + 1))).rejects.toMatchObject({
          code: 'BZZZ_QUOTA_EXCEEDED',
        })
        cluster.close()
      },
    )
    await fc.assert(property, { numRuns: 60 })
    expect(refusals).toBeGreaterThan(30)
  }, 60_000)

  it('count a content once, under however many addresses and versions', async () => {
    const cluster = new Cluster()
    const content = contentOf(1, 700)
    for (const path of ['one', 'two']) {
      await admission(cluster.nodes[0]!, content)
      cluster.nodes[0]!.records.add(recordOf(content, path))
    }
    expect(used(cluster.nodes[0]!)).toBe(700)
    await expect(admission(cluster.nodes[1]!, contentOf(2, 301))).rejects.toMatchObject({
      quota: { project: 'apollo', used: 700, limit: LIMIT },
    })
    await admission(cluster.nodes[1]!, contentOf(2, 300))
    cluster.close()
  })

  it('know what is written when the account moves, and forget only what was under way', async () => {
    const cluster = new Cluster()
    const [left, right] = cluster.others()
    const done = contentOf(1, 500)
    await admission(left, done)
    left.records.add(recordOf(done))
    const underWay = contentOf(2, 300)
    await admission(left, underWay)
    cluster.network.isolate(cluster.keeper().peerId)
    // The bound: 500 are written, 300 are granted and forgotten, 500 can be granted once more.
    await expect(admission(right, contentOf(3, 501))).rejects.toMatchObject({
      quota: { used: 500 },
    })
    await admission(right, contentOf(3, 500))
    right.records.add(recordOf(underWay))
    await right.part.sync.pull(left.peerId)
    expect(used(right)).toBe(800)
    await expect(admission(left, contentOf(4, 1))).rejects.toMatchObject({
      code: 'BZZZ_QUOTA_EXCEEDED',
    })
    cluster.close()
  })

  it('give back what was granted to a writer that was never heard of again', async () => {
    const cluster = new Cluster()
    await admission(cluster.nodes[0]!, contentOf(1, 900))
    await expect(admission(cluster.nodes[1]!, contentOf(2, 200))).rejects.toThrow('900 of at most')
    cluster.clock.nowMs += RESERVATION_TTL_MS
    await admission(cluster.nodes[1]!, contentOf(2, 200))
    cluster.close()
  })

  it('refuse an announced size before a byte is read, unless the content is known', async () => {
    const cluster = new Cluster()
    const [node] = cluster.nodes as [QuotaNode]
    const content = contentOf(1, 900)
    node.records.add(recordOf(content))
    const { quotas } = node.part
    expect(() => quotas.check('apollo', { sizeBytes: 101 })).toThrow(
      expect.objectContaining({ code: 'BZZZ_QUOTA_EXCEEDED' }),
    )
    quotas.check('apollo', { sizeBytes: 100 })
    quotas.check('apollo', { sizeBytes: 900, hash: hashBytes(content) })
    quotas.check('other', { sizeBytes: 1e12 })
    cluster.close()
  })

  it('follow another record store from its start', () => {
    const cluster = new Cluster()
    const [node] = cluster.nodes as [QuotaNode]
    node.records.add(recordOf(contentOf(1, 10)))
    node.records.add(recordOf(contentOf(2, 20)))
    expect(used(node)).toBe(30)
    const rebuilt = new RecordStore(':memory:')
    rebuilt.add(recordOf(contentOf(3, 40)))
    rebuilt.add(recordOf(contentOf(1, 10)))
    node.records.contents = rebuilt.contents.bind(rebuilt)
    expect(used(node)).toBe(70)
    rebuilt.close()
    cluster.close()
  })
})

describe('quota-limits', () => {
  const log = createSilentLogger()
  const text = 'apollo=10GiB, *=1KiB'

  it('takes the text until there is a file, and follows the file', async () => {
    const file = join(dir, 'quotas.json')
    const limits = new QuotaLimits({ log }, { file, text, pollMs: 10 })
    await limits.start()
    expect([limits.of('apollo'), limits.of('zeus')]).toEqual([10 * 1024 ** 3, 1024])
    writeFileSync(file, '{"zeus": "2MiB"}')
    await expect.poll(() => limits.of('zeus')).toBe(2 * 1024 ** 2)
    expect(limits.of('apollo')).toBeUndefined()
    writeFileSync(file, '{"zeus": "many"}')
    await limits.reload()
    expect(limits.of('zeus')).toBe(2 * 1024 ** 2)
    rmSync(file)
    await expect.poll(() => limits.of('zeus')).toBe(1024)
    await limits.stop()
  })

  it('refuses to start with limits that cannot be read', async () => {
    const file = join(dir, 'quotas.json')
    for (const wrong of ['apollo', 'apollo=', 'apollo=ten', 'a b=1', '=1', 'a=1=2']) {
      expect(() => parseQuotas(wrong), wrong).toThrow(InvalidConfigError)
    }
    expect(parseQuotas(undefined).size).toBe(0)
    writeFileSync(file, '[1]')
    const limits = new QuotaLimits({ log }, { file, text: undefined })
    await expect(limits.start()).rejects.toBeInstanceOf(InvalidConfigError)
    await limits.stop()
  })
})
