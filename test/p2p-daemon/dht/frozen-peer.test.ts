import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { RecordDHT } from '../../../p2p-daemon/dht/kad-dht.ts'
import { rootKey } from '../../../p2p-daemon/dht/keys.ts'
import { loadNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { PeerUnreachableError } from '../../../shared/errors.ts'
import { encodeRecord } from '../../../shared/record/record.ts'
import { startCluster, until, writeAllowList, type TestCluster } from '../../helpers/mesh.ts'
import { makeRecord } from '../../helpers/record.ts'

const url = (path: string): string => new URL(`../../../${path}`, import.meta.url).href

/** A node in a process of its own, so that it can be stopped without its connections closing. */
const PROGRAM = `
  const [dataDir, bootstrap] = process.argv.slice(1)
  const { createMeshNode } = await import('${url('test/helpers/mesh.ts')}')
  const { RecordDHT } = await import('${url('p2p-daemon/dht/kad-dht.ts')}')
  const { loadNodeKey } = await import('${url('p2p-daemon/mesh/node-key.ts')}')
  const nodeKey = await loadNodeKey(dataDir)
  const node = createMeshNode({ name: 'frozen', dataDir, nodeKey }, { bootstrap: [bootstrap] }, (it) => [
    new RecordDHT(it, { isAuthorAllowed: () => true }),
  ])
  await node.mesh.start()
  for (const part of node.parts) await part.start()
`

const tables: RecordDHT[] = []
let cluster: TestCluster
let dataDir: string
let frozen: ChildProcess

beforeAll(async () => {
  cluster = await startCluster({
    names: ['walnut', 'ironwood'],
    attach: ({ log, mesh, registry }) => {
      const dht = new RecordDHT({ log, mesh, registry }, { isAuthorAllowed: () => true })
      tables.push(dht)
      return [dht]
    },
  })
  dataDir = await mkdtemp(join(tmpdir(), 'bzzz-frozen-'))
  const { peerId } = await loadNodeKey(dataDir)
  const peerIds = [...cluster.nodes.map(({ nodeKey }) => nodeKey.peerId), peerId]
  for (const node of [...cluster.nodes, { dataDir }]) await writeAllowList(node, peerIds)
  const bootstrap = cluster.node('walnut').mesh.addresses()[0] ?? ''
  const program = ['--input-type=module', '-e', PROGRAM, dataDir, bootstrap]
  frozen = spawn(process.execPath, program, { stdio: 'inherit' })
  for (const table of tables) {
    await until(() => table.routingTablePeers() === 2, 'the third node in the table')
  }
})

afterAll(async () => {
  frozen.kill('SIGKILL')
  await once(frozen, 'exit')
  await cluster.stop()
  await rm(dataDir, { recursive: true })
})

describe('record-dht beside a peer that hangs', () => {
  it('still puts, finds, misses and provides', async () => {
    const [walnut, ironwood] = tables as [RecordDHT, RecordDHT]
    const { nodeKey } = cluster.node('walnut')
    frozen.kill('SIGSTOP')

    const kept = makeRecord({ address: 'bzzz://agent@project/kept' }, nodeKey)
    await walnut.putRecord(kept.address, encodeRecord(kept))
    const found = await ironwood.getRecord(kept.address)
    expect(found && Buffer.from(found)).toEqual(encodeRecord(kept))

    expect(await ironwood.getRecord('bzzz://agent@project/none')).toBeUndefined()

    const root = hashBytes(Buffer.from('root'))
    await walnut.provide(rootKey(root))
    const providers: string[] = []
    for await (const peerId of ironwood.findProviders(rootKey(root))) providers.push(peerId)
    expect(providers).toEqual([nodeKey.peerId])

    // Were all peers hanging, a put would have to say that nobody took it.
    await cluster.node('ironwood').mesh.stop()
    const lost = makeRecord({ address: 'bzzz://agent@project/lost' }, nodeKey)
    const put = walnut.putRecord(lost.address, encodeRecord(lost))
    await expect(put).rejects.toBeInstanceOf(PeerUnreachableError)
  }, 60_000)
})
