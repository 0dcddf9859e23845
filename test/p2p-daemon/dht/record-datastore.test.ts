import { Record as Libp2pRecord } from '@libp2p/kad-dht'
import { base32 } from 'multiformats/bases/base32'
import { describe, expect, it } from 'vitest'

import { recordKey } from '../../../p2p-daemon/dht/keys.ts'
import { RecordDatastore } from '../../../p2p-daemon/dht/record-datastore.ts'
import { encodeRecord, type AddressRecord } from '../../../shared/record/record.ts'
import { makeRecord } from '../../helpers/record.ts'

type Key = Parameters<RecordDatastore['put']>[0]

const ADDRESS = 'bzzz://agent@project/plan'

/** The store looks at nothing but the text of a key. */
const toKey = (text: string): Key => ({ toString: () => text }) as Key

/** The key kad-dht makes for a record. */
const keyOf = (address: string): Key =>
  toKey(`/dht/record/${base32.baseEncode(recordKey(address))}`)

const wrap = (record: AddressRecord): Uint8Array =>
  new Libp2pRecord(recordKey(record.address), encodeRecord(record), new Date()).serialize().slice()

const provider = (root: string, peer: string): Key => toKey(`/dht/provider/${root}/${peer}`)

async function keys(store: RecordDatastore, prefix: string): Promise<string[]> {
  const found: string[] = []
  for await (const { key } of store.query({ prefix })) found.push(key.toString())
  return found.toSorted()
}

describe('record-datastore', () => {
  it('lets a newer record replace an older one and never the other way', () => {
    const store = new RecordDatastore({ onRecord: () => undefined })
    const [older, newer] = [1, 2].map((version) => makeRecord({ address: ADDRESS, version }))
    for (const record of [older, newer, older]) if (record) store.put(keyOf(ADDRESS), wrap(record))
    const kept = store.record(recordKey(ADDRESS))
    expect(kept && Buffer.from(kept)).toEqual(newer && encodeRecord(newer))
  })

  it('takes the same record again, which renews its age', () => {
    const store = new RecordDatastore({ onRecord: () => undefined })
    const record = makeRecord({ address: ADDRESS })
    store.put(keyOf(ADDRESS), wrap(record))
    const again = wrap(record)
    store.put(keyOf(ADDRESS), again)
    expect(store.get(keyOf(ADDRESS))).toBe(again)
  })

  it('tells of every record, also of the one that loses', () => {
    const told: string[] = []
    const store = new RecordDatastore({
      onRecord: (bytes) => told.push(Buffer.from(bytes).toString()),
    })
    const records = [2, 1].map((version) => makeRecord({ address: ADDRESS, version }))
    for (const record of records) store.put(keyOf(ADDRESS), wrap(record))
    expect(told).toEqual(records.map((record) => encodeRecord(record).toString()))
  })

  it('finds the providers of one root and of all', async () => {
    const store = new RecordDatastore({ onRecord: () => undefined })
    for (const [root, peer] of [
      ['r1', 'a'],
      ['r1', 'b'],
      ['r2', 'a'],
    ] as const) {
      store.put(provider(root, peer), Uint8Array.of(1))
    }
    expect(await keys(store, '/dht/provider/r1')).toEqual([
      '/dht/provider/r1/a',
      '/dht/provider/r1/b',
    ])
    expect(await keys(store, '/dht/provider/r')).toEqual([])
    expect(await keys(store, '/dht/provider')).toHaveLength(3)
  })

  it('forgets one provider and keeps the others, also while it is walked', async () => {
    const store = new RecordDatastore({ onRecord: () => undefined })
    for (const peer of ['a', 'b', 'c']) store.put(provider('r1', peer), Uint8Array.of(1))
    for await (const { key } of store.query({ prefix: '/dht/provider' })) {
      if (key.toString().endsWith('/a') || key.toString().endsWith('/c')) store.delete(key)
    }
    expect(await keys(store, '/dht/provider/r1')).toEqual(['/dht/provider/r1/b'])
    store.delete(provider('r1', 'b'))
    expect(store.has(provider('r1', 'b'))).toBe(false)
    expect(() => store.get(provider('r1', 'b'))).toThrow('no such entry')
  })

  it('holds a bounded number of entries', async () => {
    const store = new RecordDatastore({ onRecord: () => undefined })
    for (let n = 0; n < 100_500; n += 1) store.put(provider(`r${n}`, 'a'), Uint8Array.of(1))
    expect(await keys(store, '/dht/provider')).toHaveLength(100_000)
    expect(store.has(provider('r0', 'a'))).toBe(false)
    expect(store.has(provider('r100499', 'a'))).toBe(true)
  })
})
