import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import {
  InvalidRequestError,
  NotForkedError,
  VersionConflictError,
} from '../../../shared/errors.ts'
import { recordHash, type AddressRecord } from '../../../shared/record/record.ts'
import { until } from '../../helpers/mesh.ts'
import { MemoryNetwork } from '../../helpers/memory-mesh.ts'
import { startRecordNode, type RecordNode } from '../../helpers/record-node.ts'

const NAME = 'bzzz://reviewer@apollo/plan.md'

let network: MemoryNetwork
let nodes: [RecordNode, RecordNode, RecordNode, ...RecordNode[]]
let ends: [AddressRecord, AddressRecord]

function content(text: string) {
  const bytes = Buffer.from(text)
  return { hash: hashBytes(bytes), sizeBytes: bytes.length, mediaType: 'text/plain' }
}

/** Two ends of version 2, each known to one node only, as after a partition. */
beforeEach(async () => {
  network = new MemoryNetwork()
  const started = []
  for (let index = 0; index < 3; index += 1) started.push(await startRecordNode(network))
  nodes = started as typeof nodes
  const [left, right] = nodes
  await left.service.write(NAME, content('base'))
  const base = left.store.head(NAME)!
  const fork = (node: RecordNode, text: string): AddressRecord => {
    const fields = { ...base, ...content(text), version: 2, previous: recordHash(base) }
    const record = node.sign(fields, node.peerId)
    node.store.add(record)
    return record
  }
  const forks = [fork(left, 'left'), fork(right, 'right')]
  ends = forks.toSorted((a, b) => (recordHash(a) < recordHash(b) ? -1 : 1)) as typeof ends
  // Who meets again compares notes.
  for (const { peerId } of nodes) {
    network.isolate(peerId)
    network.heal(peerId)
  }
  for (const { store } of nodes) await until(() => store.forks(NAME) === 1, 'the fork')
})

afterEach(() => Promise.all(nodes.map((node) => node.close())))

const conflicts = async (node: RecordNode) => {
  const query = { pattern: 'bzzz://*@apollo/', projects: ['*'], after: '', limit: 10 }
  return (await node.search.conflicts(query)).items
}

describe('merge', () => {
  it('lists both ends on every node, the head first', async () => {
    for (const node of nodes) {
      expect((await conflicts(node)).map((each) => each.ends)).toEqual([ends])
    }
  })

  it('picks an end and settles the others, on every node, with all in the history', async () => {
    const [, loser] = ends
    const { record, holders } = await nodes[2].service.merge(NAME, recordHash(loser))
    expect(holders.length).toBeGreaterThanOrEqual(2)
    expect(record).toMatchObject({
      version: 3,
      hash: loser.hash,
      previous: recordHash(ends[0]),
      merged: [recordHash(loser)],
    })
    for (const node of nodes) {
      const head = await node.lookup.head(NAME, { fresh: true })
      expect(head).toMatchObject({ record, forks: 0 })
      expect(await conflicts(node)).toEqual([])
      const versions = node.store.history(NAME, 9, 9).map(({ version }) => version)
      expect(versions).toEqual([3, 2, 2, 1])
    }
  })

  it('brings the ends that were settled to who never saw them', async () => {
    const { record } = await nodes[0].service.merge(NAME, recordHash(ends[0]))
    // With three that are left, each of them holds every address.
    network.isolate(nodes[2].peerId)
    const late = await startRecordNode(network)
    nodes.push(late)
    await until(() => late.store.byHash(recordHash(record)) !== undefined, 'the newest version')
    await until(() => late.store.history(NAME, 9, 9).length === 4, 'the whole history')
    expect(late.store.forks(NAME)).toBe(0)
  })

  it('picks the head too, and by the beginning of a hash', async () => {
    const [head] = ends
    const { record } = await nodes[0].service.merge(NAME, head.hash.slice(0, 12))
    expect(record).toMatchObject({ version: 3, hash: head.hash, merged: [recordHash(ends[1])] })
  })

  it('refuses a pick that is none or several', async () => {
    for (const pick of ['2', 'f'.repeat(64), '7', 'xyz', '']) {
      const merge = nodes[0].service.merge(NAME, pick)
      await expect(merge).rejects.toBeInstanceOf(InvalidRequestError)
    }
  })

  it('takes a version where one end has it alone', async () => {
    const [winner] = ends
    const node = nodes.find(({ peerId }) => peerId === winner.author)!
    const fields = { ...winner, ...content('more'), version: 3, previous: recordHash(winner) }
    node.store.add(node.sign(fields, node.peerId))
    const { record } = await nodes[2].service.merge(NAME, '2')
    expect(record).toMatchObject({ version: 4, hash: ends[1].hash })
  })

  it('refuses to settle what somebody changed, or what is no fork', async () => {
    const merge = nodes[0].service.merge(NAME, recordHash(ends[0]), { ifVersion: 1 })
    await expect(merge).rejects.toBeInstanceOf(VersionConflictError)
    await nodes[0].service.merge(NAME, recordHash(ends[0]), { ifVersion: 2 })
    const again = nodes[1].service.merge(NAME, recordHash(ends[0]))
    await expect(again).rejects.toBeInstanceOf(NotForkedError)
  })
})
