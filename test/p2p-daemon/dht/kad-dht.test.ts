import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { RecordDHT } from '../../../p2p-daemon/dht/kad-dht.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { InvalidRecordError } from '../../../shared/errors.ts'
import { encodeRecord, signRecord, type AddressRecord } from '../../../shared/record/record.ts'
import { startCluster, until, type TestCluster, type TestNode } from '../../helpers/mesh.ts'

const tables = new Map<TestNode, RecordDHT>()
const seen = new Map<TestNode, AddressRecord[]>()
let cluster: TestCluster

beforeAll(async () => {
  cluster = await startCluster({
    names: ['walnut', 'ironwood', 'acacia'],
    attach: (node) => {
      seen.set(node, [])
      const { log, mesh, registry } = node
      const dht = new RecordDHT(
        { log, mesh, registry },
        {
          isAuthorAllowed: (peerId) => node.allowList.has(peerId),
          onRecord: (record) => seen.get(node)?.push(record),
        },
      )
      tables.set(node, dht)
      return [dht]
    },
  })
  for (const node of cluster.nodes) {
    await until(() => table(node.name).routingTablePeers() === 2, 'a full routing table')
  }
})

afterAll(() => cluster.stop())

function table(name: string): RecordDHT {
  const dht = tables.get(cluster.node(name))
  if (!dht) throw new Error(`There is no table on ${name}.`)
  return dht
}

function record(author: string, address: string, version: number, content = 'x'): AddressRecord {
  const { nodeKey } = cluster.node(author)
  return signRecord(
    {
      address,
      version,
      hash: hashBytes(Buffer.from(content)),
      sizeBytes: content.length,
      mediaType: 'text/plain',
      previous: version === 1 ? null : hashBytes(Buffer.from('before')),
      author: nodeKey.peerId,
      timestampMs: 1_700_000_000_000,
    },
    nodeKey.signingKey,
  )
}

describe('record-dht', () => {
  it('finds a record on a node that did not put it', async () => {
    const first = record('walnut', 'bzzz://agent@project/found', 1)
    await table('walnut').putRecord(first.address, encodeRecord(first))
    const found = await table('acacia').getRecord(first.address)
    expect(found && Buffer.from(found)).toEqual(encodeRecord(first))
  })

  it('finds nothing under a name that was never put', async () => {
    expect(await table('acacia').getRecord('bzzz://agent@project/never')).toBeUndefined()
  })

  it('keeps the newer record when an older one is put after it', async () => {
    const address = 'bzzz://agent@project/stale'
    const [older, newer] = [record('walnut', address, 1), record('ironwood', address, 2)]
    await table('ironwood').putRecord(address, encodeRecord(newer))
    await table('walnut').putRecord(address, encodeRecord(older))
    for (const { name } of cluster.nodes) {
      const found = await table(name).getRecord(address)
      expect(found && Buffer.from(found)).toEqual(encodeRecord(newer))
    }
    const onAcacia = seen.get(cluster.node('acacia'))?.filter((each) => each.address === address)
    expect(onAcacia?.map(({ version }) => version)).toContain(1)
  })

  it('refuses to put a record whose signature is not its author’s', async () => {
    const address = 'bzzz://agent@project/forged'
    const forged = {
      ...record('walnut', address, 1),
      author: cluster.node('acacia').nodeKey.peerId,
    }
    const put = table('walnut').putRecord(address, encodeRecord(forged))
    await expect(put).rejects.toBeInstanceOf(InvalidRecordError)
  })

  it('lets a second node find a root that was provided', async () => {
    const root = hashBytes(Buffer.from('a root'))
    await table('walnut').provideRoot(root)
    const found: string[] = []
    for await (const peerId of table('acacia').findProviders(root)) {
      found.push(peerId)
      break
    }
    expect(found).toEqual([cluster.node('walnut').nodeKey.peerId])
  })
})
