import { afterEach, describe, expect, it } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import {
  AddressNotFoundError,
  PartitionMinorityError,
  VersionConflictError,
  VersionNotFoundError,
} from '../../../shared/errors.ts'
import { recordHash, verifyRecord } from '../../../shared/record/record.ts'
import { MemoryNetwork } from '../../helpers/memory-mesh.ts'
import { startRecordNode, type RecordNode } from '../../helpers/record-node.ts'

const NAME = 'bzzz://reviewer@apollo/plan.md'

function content(text: string) {
  const bytes = Buffer.from(text)
  return { hash: hashBytes(bytes), sizeBytes: bytes.length, mediaType: 'text/plain' }
}

let nodes: RecordNode[] = []

async function start(count: number): Promise<{ network: MemoryNetwork; nodes: RecordNode[] }> {
  const network = new MemoryNetwork()
  for (let index = 0; index < count; index += 1) nodes.push(await startRecordNode(network))
  return { network, nodes }
}

afterEach(async () => {
  await Promise.all(nodes.map((node) => node.close()))
  nodes = []
})

describe('record-service', () => {
  it('makes versions into a signed hash chain', async () => {
    const [node] = (await start(1)).nodes as [RecordNode]
    const first = await node.service.write(NAME, content('one'))
    const second = await node.service.write(NAME, content('two'))
    expect(first).toMatchObject({ created: true, record: { version: 1, previous: null } })
    expect(second.record.version).toBe(2)
    expect(second.record.previous).toBe(recordHash(first.record))
    expect(() => verifyRecord(second.record)).not.toThrow()
    expect(second.record.author).toBe(node.peerId)
  })

  it('answers the same content with the version that stands', async () => {
    const [node] = (await start(1)).nodes as [RecordNode]
    const first = await node.service.write(NAME, content('same'))
    const again = await node.service.write(NAME, content('same'))
    expect(again).toMatchObject({ created: false, record: { version: 1 } })
    expect(recordHash(again.record)).toBe(recordHash(first.record))
  })

  it('refuses a stale writer with the record that stands', async () => {
    const [node] = (await start(1)).nodes as [RecordNode]
    await node.service.write(NAME, content('one'))
    const { record } = await node.service.write(NAME, content('two'), { ifVersion: 1 })
    const stale = node.service.write(NAME, content('three'), { ifVersion: 1 })
    await expect(stale).rejects.toBeInstanceOf(VersionConflictError)
    await expect(stale).rejects.toMatchObject({ current: { version: 2, hash: record.hash } })
    const wrongHash = node.service.write(NAME, content('x'), { ifHash: content('one').hash })
    await expect(wrongHash).rejects.toBeInstanceOf(VersionConflictError)
    const mustBeNew = node.service.write(NAME, content('x'), { ifVersion: 0 })
    await expect(mustBeNew).rejects.toBeInstanceOf(VersionConflictError)
  })

  it('lets no record stand before its content does', async () => {
    const { nodes } = await start(3)
    const writer = nodes[0]!
    await writer.service.write(NAME, content('one'))
    const gate = Promise.withResolvers<void>()
    const stored = gate.promise
    const writing = writer.service.write(NAME, { ...content('two'), stored }, { ifVersion: 1 })
    // Long enough for a write that does not wait.
    await nodes[1]!.service.write('bzzz://reviewer@apollo/other', content('other'))
    for (const node of nodes) expect((await node.lookup.head(NAME)).record.version).toBe(1)
    gate.resolve()
    expect((await writing).record.version).toBe(2)
    const failed = Promise.reject(new Error('no disk'))
    failed.catch(() => undefined)
    const failing = { ...content('three'), stored: failed }
    await expect(writer.service.write(NAME, failing)).rejects.toThrow('no disk')
    for (const node of nodes) expect((await node.lookup.head(NAME)).record.version).toBe(2)
    const repeated = { ...content('two'), stored: failed }
    await expect(writer.service.write(NAME, repeated)).rejects.toThrow('no disk')
  })

  it('is read on every node after a write on one', async () => {
    const { nodes } = await start(3)
    const { record, holders } = await nodes[0]!.service.write(NAME, content('shared'))
    expect(holders.length).toBeGreaterThanOrEqual(2)
    for (const node of nodes) {
      const found = await node.lookup.head(NAME)
      expect(recordHash(found.record)).toBe(recordHash(record))
    }
  })

  it('orders writers on all nodes into one chain without a fork', async () => {
    const { nodes } = await start(3)
    const texts = Array.from({ length: 30 }, (_, index) => `text ${index}`)
    const writes = texts.map((text, index) => nodes[index % 3]!.service.write(NAME, content(text)))
    const versions = (await Promise.all(writes)).map((write) => write.record.version)
    expect(versions.toSorted((a, b) => a - b)).toEqual(texts.map((_, index) => index + 1))
    for (const node of nodes) expect(node.store.forks(NAME)).toBe(0)
    const history = await nodes[1]!.lookup.history(NAME, { before: 1_000, limit: 100 })
    expect(history.map((record) => record.version)).toEqual(versions.toSorted((a, b) => b - a))
  })

  it('lets exactly one of two conditional writers win', async () => {
    const { nodes } = await start(3)
    await nodes[0]!.service.write(NAME, content('base'))
    const results = await Promise.allSettled([
      nodes[1]!.service.write(NAME, content('left'), { ifVersion: 1 }),
      nodes[2]!.service.write(NAME, content('right'), { ifVersion: 1 }),
    ])
    expect(results.map((result) => result.status).toSorted()).toEqual(['fulfilled', 'rejected'])
  })

  it('goes on with one of three nodes away and refuses with two away', async () => {
    const { network, nodes } = await start(3)
    network.isolate(nodes[2]!.peerId)
    const { record } = await nodes[0]!.service.write(NAME, content('two of three'))
    expect(record.version).toBe(1)
    network.isolate(nodes[1]!.peerId)
    const alone = nodes[0]!.service.write(NAME, content('one of three'))
    await expect(alone).rejects.toBeInstanceOf(PartitionMinorityError)
    expect(nodes[0]!.store.head(NAME)).toEqual(record)
  })

  it('teaches a node that was away what it missed', async () => {
    const { network, nodes } = await start(3)
    const away = nodes[2]!
    network.isolate(away.peerId)
    for (const text of ['one', 'two', 'three']) await nodes[0]!.service.write(NAME, content(text))
    expect(away.store.head(NAME)).toBeUndefined()
    network.heal(away.peerId)
    // The head comes first, what lies below it right after.
    const versions = () => away.store.history(NAME, 10, 10).map((record) => record.version)
    await expect.poll(versions, { timeout: 10_000 }).toEqual([3, 2, 1])
  })

  it('fills a hole below a version that came without the one before it', async () => {
    const { network, nodes } = await start(3)
    const away = nodes[2]!
    network.isolate(away.peerId)
    for (const text of ['one', 'two', 'three']) await nodes[0]!.service.write(NAME, content(text))
    // As a holder that hears of the last write only.
    away.store.add(nodes[0]!.store.head(NAME)!)
    network.heal(away.peerId)
    const versions = () => away.store.history(NAME, 10, 10).map((record) => record.version)
    await expect.poll(versions, { timeout: 10_000 }).toEqual([3, 2, 1])
  })

  it('keeps both sides of a fork on every node and shows it', async () => {
    const { network, nodes } = await start(2)
    await nodes[0]!.service.write(NAME, content('base'))
    const [left, right] = nodes as [RecordNode, RecordNode]
    // A partition of two has no quorum, so both sides are made by hand, as two authors would.
    const base = left.store.head(NAME)!
    for (const node of nodes) {
      const forked = node.sign({ ...base, version: 2, previous: recordHash(base) }, node.peerId)
      node.store.add(forked)
    }
    expect(left.store.head(NAME)).not.toEqual(right.store.head(NAME))
    network.isolate(left.peerId)
    network.heal(left.peerId)
    await expect
      .poll(() => left.store.forks(NAME) + right.store.forks(NAME), { timeout: 10_000 })
      .toBe(2)
    const heads = await Promise.all(nodes.map((node) => node.lookup.head(NAME)))
    expect(heads[0]!.record).toEqual(heads[1]!.record)
    expect(heads.map((head) => head.forks)).toEqual([1, 1])
    expect(left.store.history(NAME, 10, 10).map((record) => record.version)).toEqual([2, 2, 1])
  })

  it('reads the past by version and by moment', async () => {
    const [node] = (await start(1)).nodes as [RecordNode]
    const { record: one } = await node.service.write(NAME, content('one'))
    await node.service.write(NAME, content('two'))
    expect(await node.lookup.version(NAME, 1)).toEqual(one)
    expect(await node.lookup.at(NAME, one.timestampMs + 60_000)).toMatchObject({ version: 2 })
    await expect(node.lookup.version(NAME, 3)).rejects.toBeInstanceOf(VersionNotFoundError)
    await expect(node.lookup.at(NAME, 5)).rejects.toBeInstanceOf(VersionNotFoundError)
    const unknown = node.lookup.head('bzzz://nobody@apollo/x')
    await expect(unknown).rejects.toBeInstanceOf(AddressNotFoundError)
  })

  it('pages a history newest first', async () => {
    const [node] = (await start(1)).nodes as [RecordNode]
    for (const text of ['a', 'b', 'c', 'd', 'e']) await node.service.write(NAME, content(text))
    const page = await node.lookup.history(NAME, { before: 4, limit: 2 })
    expect(page.map((record) => record.version)).toEqual([3, 2])
  })
})
