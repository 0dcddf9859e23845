import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { HEADS_PER_PAGE, ROOTS_PER_PAGE_MAX } from '../../../p2p-daemon/lifetime/constants.ts'
import { threadRoots } from '../../../p2p-daemon/lifetime/thread-roots.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import type { AddressRecord } from '../../../shared/record/record.ts'
import { encodeHead, THREAD_MEDIA_TYPE, type ThreadHead } from '../../../shared/thread/head.ts'
import {
  createLifetimeNode,
  keepRecord,
  ManualClock,
  recordOf,
  type LifetimeNode,
} from '../../helpers/lifetime-node.ts'
import { MemoryNetwork } from '../../helpers/memory-mesh.ts'

const GRACE_MS = 86_400_000
const NAME = 'bzzz://agent@apollo/thread'

let clock: ManualClock
let network: MemoryNetwork
let node: LifetimeNode

beforeEach(() => {
  clock = new ManualClock()
  network = new MemoryNetwork()
  node = createLifetimeNode(network, { peerId: 'a', clock, graceMs: GRACE_MS })
})

afterEach(() => node.close())

/** What a version of the thread says it added. */
function headOf(added: readonly string[], contents: readonly string[] = []): Buffer {
  const head: ThreadHead = {
    thread: NAME,
    createdBy: 'somebody',
    createdAt: '2026-11-23T18:00:00.000Z',
    ends: [],
    seq: added.length,
    count: added.length,
    added: [...added],
    contents: [...contents],
  }
  return encodeHead(head)
}

async function keepHead(head: Buffer, version = 1): Promise<AddressRecord> {
  const { hash } = await node.store.put(head)
  const record = { ...recordOf(head, 'thread'), version, hash, mediaType: THREAD_MEDIA_TYPE }
  await keepRecord(node, record)
  return record
}

const put = async (text: string): Promise<string> => (await node.store.put(Buffer.from(text))).hash

const has = async (hash: string): Promise<boolean> => (await node.store.stat(hash)) !== undefined

/** A collection that finds garbage, and the one after its grace. */
async function collectTwice() {
  await node.lifetime.collector.collect({ dryRun: false }).done
  clock.nowMs += GRACE_MS
  return node.lifetime.collector.collect({ dryRun: false }).done
}

async function allRoots(): Promise<string[]> {
  const source = threadRoots({ records: node.records, blobs: node.store })
  const roots: string[] = []
  let after: string | null = ''
  while (after !== null) {
    const page: { hashes: string[]; next: string | null } = await source.page(after)
    expect(page.hashes.length).toBeLessThanOrEqual(ROOTS_PER_PAGE_MAX)
    roots.push(...page.hashes)
    after = page.next
  }
  return roots
}

describe('the roots of threads', () => {
  it('keep messages and contents of every version, and nothing else', async () => {
    const [one, two, content, garbage] = [
      await put('one'),
      await put('two'),
      await put('content'),
      await put('garbage'),
    ]
    await keepHead(headOf([one]), 1)
    await keepHead(headOf([two], [content]), 2)
    expect(await collectTwice()).toMatchObject({ outcome: 'done', deleted: 1 })
    for (const hash of [one, two, content]) expect(await has(hash)).toBe(true)
    expect(await has(garbage)).toBe(false)
  })

  it('keep everything while a head cannot be read', async () => {
    const [one, garbage] = [await put('one'), await put('garbage')]
    const { hash } = await keepHead(headOf([one]))
    await node.store.delete(hash)
    const ended = await collectTwice()
    expect(ended).toMatchObject({ outcome: 'incomplete', deleted: 0 })
    expect(ended.reason).toContain(hash)
    expect(await has(one)).toBe(true)
    expect(await has(garbage)).toBe(true)
  })

  it('are none of what only calls itself a thread', async () => {
    await keepHead(Buffer.from('{"added": "everything"}'))
    await keepHead(Buffer.alloc(2 * 1024 * 1024), 2)
    expect(await allRoots()).toEqual([])
    expect(await collectTwice()).toMatchObject({ outcome: 'done' })
  })

  it('come in pages, whatever their number', async () => {
    const named = (count: number, of: string): string[] =>
      Array.from({ length: count }, (_, index) => hashBytes(Buffer.from(`${of} ${index}`)))
    const expected: string[] = []
    for (let version = 1; version <= HEADS_PER_PAGE + 30; version += 1) {
      const added = named(version <= 30 ? 500 : 1, `version ${version}`)
      expected.push(...added)
      await keepHead(headOf(added), version)
    }
    expect(await allRoots()).toEqual(expected)
  })
})
