import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { NodeState } from '../../p2p-daemon/nodes/node-state.ts'
import { Nodes } from '../../p2p-daemon/nodes/nodes.ts'
import { composeReplication } from '../../p2p-daemon/replication/compose.ts'
import { DiskStore } from '../../p2p-daemon/store/disk-store.ts'
import { StreamTransfer } from '../../p2p-daemon/transfer/stream-transfer.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import { MiB } from '../../shared/limits.ts'
import {
  startCluster,
  startNode,
  until,
  untilPeers,
  type TestCluster,
  type TestNode,
} from '../helpers/mesh.ts'
import { stopAll } from '../../shared/lifecycle.ts'

interface Replica {
  store: DiskStore
  replication: ReturnType<typeof composeReplication>
  nodes: Nodes
}

const NAMES = ['walnut', 'ironwood', 'acacia', 'juniper', 'rowan'] as const

let cluster: TestCluster
const replicas = new Map<string, Replica>()

/** Real meshes, real disks, real transfers; only waiting is shorter. */
function attach(node: TestNode) {
  const { mesh, log, registry, allowList, dataDir } = node
  const store = new DiskStore({}, { dataDir: join(dataDir, 'store') })
  mkdirSync(join(dataDir, 'store'))
  const transfer = new StreamTransfer({ log, mesh, store, registry })
  const state = NodeState.fresh(dataDir)
  const replication = composeReplication(
    { mesh, store, transfer, log, registry, isDraining: () => state.draining },
    {
      ledgerFile: join(dataDir, 'replication.db'),
      awayGraceMs: 60_000,
      repairBytesPerSecond: 256 * MiB,
      membersTickMs: 50,
      promiseMs: 500,
      dropRetryMs: 50,
      surplusKeepMs: 50,
      backoffMinMs: 50,
      flushMs: 20,
      stragglerWaitMs: 5_000,
    },
  )
  const report = async () => ({ ...(await replication.status()), ...(await store.usage()) })
  const rescan = (): void => replication.rebalancer.request()
  const { members } = replication
  const nodes = new Nodes(
    { mesh, allowList, members, state, report, rescan, log },
    { weight: 1, forgetful: false },
  )
  replicas.set(node.name, { store, replication, nodes })
  return [store, transfer, ...replication.parts]
}

const replica = (name: string): Replica => replicas.get(name)!
const idOf = (name: string): string => cluster.node(name).mesh.self.peerId
const nameOf = (peerId: string): string =>
  cluster.nodes.find(({ mesh }) => mesh.self.peerId === peerId)!.name

const holders = (name: string, hash: string): string[] =>
  replica(name).replication.members.holders(hash).map(nameOf).toSorted()

async function copies(hash: string): Promise<string[]> {
  const found: string[] = []
  for (const [name, { store }] of replicas) {
    if (isRunning.has(name) && (await store.stat(hash))) found.push(name)
  }
  return found.toSorted()
}

const isRunning = new Set<string>(NAMES)

async function stop(name: string): Promise<void> {
  const node = cluster.node(name)
  isRunning.delete(name)
  await stopAll([node.mesh, ...node.parts])
}

async function start(name: string): Promise<void> {
  await startNode(cluster.node(name))
  isRunning.add(name)
}

/** Bytes that belong on all of the nodes. */
function bytesFor(...names: string[]): Buffer {
  for (;;) {
    const bytes = randomBytes(300_000)
    const placed = holders(names[0]!, hashBytes(bytes))
    if (names.every((name) => placed.includes(name))) return bytes
  }
}

async function untilCopies(hash: string, expected: readonly string[]): Promise<void> {
  const isThere = async () => (await copies(hash)).join() === expected.join()
  await until(isThere, `copies on ${expected.join()}`)
}

beforeAll(async () => {
  cluster = await startCluster({ names: NAMES, attach })
})

afterAll(() => cluster.stop())

describe('replication over a real mesh', () => {
  it('puts three copies, reads them everywhere, and leaves none behind', async () => {
    const bytes = bytesFor('walnut')
    const hash = hashBytes(bytes)
    const put = await replica('rowan').replication.blobs.put(bytes, { ack: 'all' })
    expect(put.underReplicated).toBe(false)
    for (const name of NAMES) {
      const read = await replica(name).replication.blobs.get(hash)
      const chunks: Uint8Array[] = []
      for await (const chunk of read.body) chunks.push(chunk)
      expect(Buffer.concat(chunks).equals(bytes)).toBe(true)
    }
    await untilCopies(hash, holders('walnut', hash))
  })

  it('reads on from a replica when the disk gives bad bytes in mid-body', async () => {
    let bytes: Buffer
    do bytes = randomBytes(5 * MiB)
    while (!holders('walnut', hashBytes(bytes)).includes('walnut'))
    const hash = hashBytes(bytes)
    await replica('walnut').replication.blobs.put(bytes, { ack: 'all' })
    const folder = join(cluster.node('walnut').dataDir, 'store', 'blobs', 'data')
    const file = await open(join(folder, hash.slice(0, 2), hash.slice(2, 4), hash), 'r+')
    await file.write(Buffer.from('damaged'), 0, 7, 3.5 * MiB)
    await file.close()
    const read = await replica('walnut').replication.blobs.get(hash, { start: 10 })
    const chunks: Uint8Array[] = []
    for await (const chunk of read.body) chunks.push(chunk)
    expect(Buffer.concat(chunks).equals(bytes.subarray(10))).toBe(true)
    expect(await replica('walnut').store.verify(hash)).toBe(true)
  })

  it('hands off while a holder is away, and back when it returns', async () => {
    const bytes = bytesFor('walnut', 'acacia')
    const hash = hashBytes(bytes)
    const proper = holders('walnut', hash)
    await stop('acacia')
    await untilPeers(cluster.node('walnut').mesh, NAMES.length - 2)
    const put = await replica('walnut').replication.blobs.put(bytes)
    expect(put.replicas.length).toBeGreaterThanOrEqual(2)
    expect(put.replicas).not.toContain(idOf('acacia'))
    await start('acacia')
    await untilCopies(hash, proper)
  })

  it('drains a node on the word of another one, and lets nobody remove it before', async () => {
    const hashes: string[] = []
    for (let index = 0; index < 12; index += 1) {
      const { hash } = await replica('walnut').replication.blobs.put(bytesFor('juniper'))
      hashes.push(hash)
    }
    const { nodes } = replica('walnut')
    expect(nodes.find('juniper')).toBe(idOf('juniper'))
    await expect(nodes.remove(idOf('juniper'))).rejects.toMatchObject({
      code: 'BZZZ_NODE_NOT_DRAINED',
    })
    const begun = await nodes.drain(idOf('juniper'), true)
    expect(begun.draining).toBe(true)
    const listed = async () => (await nodes.list()).find(({ name }) => name === 'juniper')!
    await until(async () => (await listed()).report?.drained === true, 'the drain')
    expect(await listed()).toMatchObject({ state: 'draining', placed: false, weight: 0 })
    expect((await NodeState.load(cluster.node('juniper').dataDir)).draining).toBe(true)
    for (const hash of hashes) {
      const placed = holders('walnut', hash)
      expect(placed).not.toContain('juniper')
      expect(await copies(hash)).toEqual(expect.arrayContaining(placed))
    }
  })

  it('removes it from the list of every node, also of one that was away', async () => {
    const gone = idOf('juniper')
    await stop('rowan')
    await untilPeers(cluster.node('walnut').mesh, NAMES.length - 2)
    const { removed, told, notTold } = await replica('walnut').nodes.remove(gone)
    expect(removed).toEqual({ peerId: gone, name: 'juniper' })
    expect(told.toSorted()).toEqual([idOf('ironwood'), idOf('acacia')].toSorted())
    expect(notTold).toEqual([idOf('rowan')])
    for (const name of ['walnut', 'ironwood', 'acacia']) {
      await until(() => !cluster.node(name).allowList.has(gone), `${name} to strike it`)
    }
    await until(() => cluster.node('juniper').mesh.peers().length === 0, 'the removed to be alone')
    expect(cluster.node('juniper').allowList.peerIds()).toEqual([])
    await start('rowan')
    await until(() => !cluster.node('rowan').allowList.has(gone), 'rowan to learn of it')
    await untilPeers(cluster.node('rowan').mesh, 3)
    const listed = await replica('ironwood').nodes.list()
    const states = Object.fromEntries(listed.map(({ name, state }) => [name, state]))
    expect(states).toEqual({
      walnut: 'live',
      ironwood: 'live',
      acacia: 'live',
      rowan: 'live',
      juniper: 'removed',
    })
  })

  it('removes a node that is dead when it is told to, and copies what it had', async () => {
    const bytes = bytesFor('walnut', 'acacia')
    const hash = hashBytes(bytes)
    await replica('walnut').replication.blobs.put(bytes, { ack: 'all' })
    await stop('acacia')
    await untilPeers(cluster.node('walnut').mesh, 2)
    const { nodes } = replica('walnut')
    await expect(nodes.remove(idOf('acacia'))).rejects.toMatchObject({
      code: 'BZZZ_PEER_UNREACHABLE',
    })
    await nodes.remove(idOf('acacia'), { force: true })
    await untilCopies(hash, ['ironwood', 'rowan', 'walnut'])
  })
})
