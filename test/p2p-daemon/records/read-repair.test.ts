import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import { recordHash, type AddressRecord } from '../../../shared/record/record.ts'
import { until } from '../../helpers/mesh.ts'
import { MemoryNetwork } from '../../helpers/memory-mesh.ts'
import { startRecordNode, type RecordNode } from '../../helpers/record-node.ts'

const NAME = 'bzzz://reviewer@apollo/plan.md'

let nodes: [RecordNode, RecordNode, RecordNode]

beforeEach(async () => {
  const network = new MemoryNetwork()
  const started = []
  for (let index = 0; index < 3; index += 1) started.push(await startRecordNode(network))
  nodes = started as typeof nodes
})

afterEach(() => Promise.all(nodes.map((node) => node.close())))

function next(by: RecordNode, after: AddressRecord | undefined): AddressRecord {
  const version = (after?.version ?? 0) + 1
  const fields = {
    address: NAME,
    version,
    hash: hashBytes(Buffer.from(`${version}`)),
    sizeBytes: 1,
    mediaType: 'text/plain',
    previous: after ? recordHash(after) : null,
    timestampMs: Date.now(),
  }
  return by.sign({ ...fields, author: by.peerId }, by.peerId)
}

describe('read repair', () => {
  it('gives holders that lag the newest record when somebody looks it up', async () => {
    const [newest, older, none] = nodes
    const first = next(newest, undefined)
    const second = next(newest, first)
    for (const record of [first, second]) newest.store.add(record)
    older.store.add(first)
    // The one that has nothing asks the others; what it learns, all of them know afterwards.
    const { record } = await none.lookup.head(NAME, { fresh: true })
    expect(record).toEqual(second)
    await until(() => older.store.head(NAME)?.version === 2, 'the repair')
    expect(none.store.head(NAME)).toEqual(second)
  })

  it('takes a newer record that was put into the table', async () => {
    const [first, second] = nodes
    const one = next(first, undefined)
    for (const node of nodes) node.store.add(one)
    const two = next(second, one)
    await first.lookup.onTableRecord(two)
    expect(first.store.head(NAME)).toEqual(two)
    // An older one changes nothing.
    await first.lookup.onTableRecord(one)
    expect(first.store.head(NAME)).toEqual(two)
  })
})
