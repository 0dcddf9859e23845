import type { SingleKadDHT } from '@libp2p/kad-dht'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { RecordDHT } from '../../../p2p-daemon/dht/kad-dht.ts'
import { recordKey, rootKey } from '../../../p2p-daemon/dht/keys.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { InvalidRecordError, OverloadedError } from '../../../shared/errors.ts'
import { encodeRecord, type AddressRecord } from '../../../shared/record/record.ts'
import { startCluster, until, type TestCluster, type TestNode } from '../../helpers/mesh.ts'
import { makeRecord } from '../../helpers/record.ts'

/** The one node that does not accept records of ironwood. */
const PICKY = 'acacia'

const tables = new Map<string, RecordDHT>()
const told = new Map<string, AddressRecord[]>()
let cluster: TestCluster

beforeAll(async () => {
  cluster = await startCluster({
    names: ['walnut', 'ironwood', 'acacia'],
    attach: (node) => [attachTable(node)],
  })
  for (const dht of tables.values()) {
    await until(() => dht.routingTablePeers() === 2, 'a full routing table')
  }
})
afterAll(() => cluster.stop())

function attachTable(node: TestNode): RecordDHT {
  const { name, log, mesh, registry, allowList } = node
  const records: AddressRecord[] = []
  told.set(name, records)
  const isAuthorAllowed = (peerId: string): boolean =>
    allowList.has(peerId) && !(name === PICKY && peerId === idOf('ironwood'))
  const onRecord = (record: AddressRecord): void => void records.push(record)
  const dht = new RecordDHT({ log, mesh, registry }, { isAuthorAllowed, onRecord })
  tables.set(name, dht)
  return dht
}

const idOf = (name: string): string => cluster.node(name).nodeKey.peerId

function table(name: string): RecordDHT {
  const dht = tables.get(name)
  if (!dht) throw new Error(`There is no table on ${name}.`)
  return dht
}

const record = (author: string, address: string, version = 1): AddressRecord =>
  makeRecord({ address, version }, cluster.node(author).nodeKey)

async function find(name: string, address: string): Promise<string | undefined> {
  const bytes = await table(name).getRecord(address)
  return bytes && Buffer.from(bytes).toString()
}

const textOf = (each: AddressRecord): string => encodeRecord(each).toString()

/** Puts whatever it is given, as a node would that does not check. */
async function putUnchecked(name: string, address: string, bytes: Uint8Array): Promise<void> {
  const kad = cluster.node(name).mesh.service<SingleKadDHT>('recordDHT')
  for await (const _event of kad.put(recordKey(address), bytes)) {
    // Every peer is asked; whether they take it is what the tests look at.
  }
}

async function refusals(name: string): Promise<number> {
  const text = await cluster.node(name).registry.metrics()
  return Number(/^bzzz_dht_records_refused_total (\d+)/m.exec(text)?.[1])
}

describe('record-dht, records', () => {
  it('finds a record on a node that did not put it', async () => {
    const first = record('walnut', 'bzzz://agent@project/found')
    await table('walnut').putRecord(first.address, encodeRecord(first))
    expect(await find('acacia', first.address)).toBe(textOf(first))
    expect(told.get('acacia')).toContainEqual(first)
  })

  it('finds nothing under a name that was never put', async () => {
    expect(await find('acacia', 'bzzz://agent@project/never')).toBeUndefined()
  })

  it('keeps the newer record when an older one is put after it, and tells of the attempt', async () => {
    const address = 'bzzz://agent@project/stale'
    const [older, newer] = [record('walnut', address, 1), record('walnut', address, 2)]
    await table('walnut').putRecord(address, encodeRecord(newer))
    await putUnchecked('ironwood', address, encodeRecord(older))
    for (const { name } of cluster.nodes) expect(await find(name, address)).toBe(textOf(newer))
    expect(told.get('acacia')).toContainEqual(older)
  })

  it('lets the newer record win a lookup where nodes hold different ones', async () => {
    const address = 'bzzz://agent@project/selected'
    const [older, newer] = [record('walnut', address, 1), record('ironwood', address, 2)]
    await table('walnut').putRecord(address, encodeRecord(older))
    // Acacia refuses this one and goes on holding the older.
    await table('ironwood').putRecord(address, encodeRecord(newer))
    expect(await find('acacia', address)).toBe(textOf(older))
    expect(await find('walnut', address)).toBe(textOf(newer))
  })

  it('refuses forged records wherever they come from', async () => {
    const address = 'bzzz://agent@project/forged'
    const forged = { ...record('ironwood', address), author: idOf('walnut') }
    const put = table('ironwood').putRecord(address, encodeRecord(forged))
    await expect(put).rejects.toBeInstanceOf(InvalidRecordError)
    const before = await refusals('walnut')
    await putUnchecked('ironwood', address, encodeRecord(forged))
    expect(await refusals('walnut')).toBeGreaterThan(before)
    // Ironwood itself now holds it and answers with it; nobody believes it.
    expect(await find('walnut', address)).toBeUndefined()
    expect(await find('acacia', address)).toBeUndefined()
  })

  it('refuses a record under the name of another', async () => {
    const real = record('walnut', 'bzzz://agent@project/real')
    const put = table('walnut').putRecord('bzzz://agent@project/else', encodeRecord(real))
    await expect(put).rejects.toBeInstanceOf(InvalidRecordError)
    const before = await refusals('walnut')
    await putUnchecked('ironwood', 'bzzz://agent@project/else', encodeRecord(real))
    expect(await refusals('walnut')).toBeGreaterThan(before)
    expect(await find('walnut', 'bzzz://agent@project/else')).toBeUndefined()
  })

  it('runs 100 lookups at once and says no to more', async () => {
    const puts = Array.from({ length: 10 }, (_, n) => record('walnut', `bzzz://agent@project/${n}`))
    for (const each of puts) await table('walnut').putRecord(each.address, encodeRecord(each))
    const lookups = Array.from({ length: 101 }, (_, n) =>
      find('ironwood', `bzzz://agent@project/${n % 10}`).catch((error: unknown) => error),
    )
    const results = await Promise.all(lookups)
    expect(results.pop()).toBeInstanceOf(OverloadedError)
    results.forEach((found, n) => expect(found).toBe(textOf(puts[n % 10] as AddressRecord)))
  })

  it('ends a lookup when the caller does', async () => {
    const signal = AbortSignal.abort(new Error('changed my mind'))
    const lookup = table('walnut').getRecord('bzzz://agent@project/found', { signal })
    await expect(lookup).rejects.toThrow('changed my mind')
  })

  it('counts what it did', async () => {
    const text = await cluster.node('walnut').registry.metrics()
    expect(text).toMatch(/bzzz_dht_lookups_total\{op="put",result="ok"\} [1-9]/)
    expect(text).toMatch(/bzzz_dht_lookup_duration_seconds_count\{op="get"\} [1-9]/)
    expect(text).toMatch(/bzzz_dht_routing_table_peers 2/)
  })
})

describe('record-dht, roots', () => {
  const root = hashBytes(Buffer.from('a root'))

  async function providers(name: string, hash: string): Promise<string[]> {
    const found: string[] = []
    for await (const peerId of table(name).findProviders(rootKey(hash))) found.push(peerId)
    return found
  }

  it('lets other nodes find who provides a root, each provider once', async () => {
    await table('walnut').provide(rootKey(root))
    expect(await providers('acacia', root)).toEqual([idOf('walnut')])
    await table('ironwood').provide(rootKey(root))
    const both = await providers('acacia', root)
    expect(both.toSorted()).toEqual([idOf('walnut'), idOf('ironwood')].toSorted())
  })

  it('does not count the node itself among the others', async () => {
    expect(await providers('walnut', root)).toEqual([idOf('ironwood')])
  })

  it('lets the caller stop at the first', async () => {
    for await (const peerId of table('acacia').findProviders(rootKey(root))) {
      expect([idOf('walnut'), idOf('ironwood')]).toContain(peerId)
      break
    }
  })

  it('finds nobody for a root that was never provided', async () => {
    expect(await providers('acacia', hashBytes(Buffer.from('nobody’s')))).toEqual([])
  })
})

describe('record-dht, alone', () => {
  it('keeps and finds its own records without waiting for peers', async () => {
    let dht: RecordDHT | undefined
    await using alone = await startCluster({
      names: ['hermit'],
      attach: ({ log, mesh, registry }) => [
        (dht = new RecordDHT({ log, mesh, registry }, { isAuthorAllowed: () => false })),
      ],
    })
    const { nodeKey } = alone.node('hermit')
    const own = makeRecord({ address: 'bzzz://agent@project/own' }, nodeKey)
    await dht?.putRecord(own.address, encodeRecord(own))
    await dht?.provide(rootKey(hashBytes(Buffer.from('own'))))
    const found = await dht?.getRecord(own.address)
    expect(found && Buffer.from(found).toString()).toBe(textOf(own))
  })
})
