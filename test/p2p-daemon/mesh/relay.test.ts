import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, describe, expect, it } from 'vitest'

import { createConnectionGater } from '../../../p2p-daemon/mesh/connection-gater.ts'
import type { NATInit } from '../../../p2p-daemon/mesh/nat.ts'
import { loadNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { MemoryStore } from '../../../p2p-daemon/store/memory-store.ts'
import { StreamTransfer } from '../../../p2p-daemon/transfer/stream-transfer.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { MiB } from '../../../shared/limits.ts'
import {
  createMeshNode,
  startNode,
  TestCluster,
  until,
  writeAllowList,
  type TestNode,
} from '../../helpers/mesh.ts'
import { blobOf } from '../store/random.ts'

const ECHO = '/bzzz/test-echo/1.0.0'
const RELAY: NATInit = { autonat: false, upnp: false, relay: 'both', holePunch: true }

let cluster: TestCluster | undefined

afterEach(async () => {
  await cluster?.stop()
  cluster = undefined
})

/**
 * A relay, and two nodes that listen nowhere: like nodes behind two NATs they can dial, and nobody
 * can dial them.
 */
async function start(init: { relay?: NATInit; allowed?: (name: string) => string[] } = {}) {
  const stores = new Map<string, MemoryStore>()
  const transfers = new Map<string, StreamTransfer>()
  const nodes: TestNode[] = []
  cluster = new TestCluster(nodes)
  for (const name of ['relay', 'left', 'right']) {
    const dataDir = await mkdtemp(join(tmpdir(), `bzzz-${name}-`))
    const nodeKey = await loadNodeKey(dataDir)
    const first = nodes[0]?.mesh.addresses()[0]
    const nat = (name === 'relay' ? init.relay : undefined) ?? RELAY
    const mesh = first ? { nat, listen: [], bootstrap: [first] } : { nat }
    const node = createMeshNode({ name, dataDir, nodeKey }, mesh, ({ mesh, log, registry }) => {
      const store = new MemoryStore()
      const transfer = new StreamTransfer({ log, mesh, store, registry })
      mesh.handle(ECHO, ({ payload }) => Promise.resolve(payload))
      stores.set(name, store)
      transfers.set(name, transfer)
      return [store, transfer]
    })
    nodes.push(node)
    if (nodes.length > 1) continue
    await startNode(node)
  }
  const idOf = (name: string): string => nodes.find((node) => node.name === name)!.nodeKey.peerId
  const everybody = ['relay', 'left', 'right']
  for (const node of nodes) {
    const names = init.allowed?.(node.name) ?? everybody
    await writeAllowList(node, names.map(idOf))
    await node.allowList.reload()
  }
  for (const node of nodes.slice(1)) await startNode(node)
  return { node: (name: string) => cluster!.node(name), idOf, stores, transfers }
}

describe('a relay', () => {
  it('connects two members that nobody can dial', async () => {
    const { node, idOf } = await start()
    const left = node('left').mesh
    const peerId = idOf('right')
    await until(() => left.peer(peerId) !== undefined, 'the relayed connection')
    expect(left.peer(peerId)).toMatchObject({ name: 'right', link: 'relayed' })
    expect(left.peer(idOf('relay'))).toMatchObject({ link: 'direct' })
    const said = await left.request(peerId, ECHO, Buffer.from('through the relay'))
    expect(Buffer.from(said).toString()).toBe('through the relay')
    // Relayed addresses are found by the relay's peers, not told to anybody.
    expect(left.addresses()).toEqual([])
    const metrics = await node('left').registry.metrics()
    expect(metrics).toContain('bzzz_peer_links{link="direct"} 1')
    expect(metrics).toContain('bzzz_peer_links{link="relayed"} 1')
  })

  it('carries a blob that is many times what libp2p would let it', async () => {
    const { node, idOf, stores, transfers } = await start()
    const left = node('left').mesh
    const peerId = idOf('right')
    await until(() => left.peer(peerId) !== undefined, 'the relayed connection')
    const bytes = blobOf(1, 8 * MiB)
    const { hash } = await stores.get('right')!.put(bytes)
    const { body } = await transfers.get('left')!.fetch(peerId, hash)
    const chunks: Uint8Array[] = []
    for await (const chunk of body) chunks.push(chunk)
    expect(hashBytes(Buffer.concat(chunks))).toBe(hash)
    expect(left.peer(peerId)?.link).toBe('relayed')
  })

  it('brings nobody to a node that does not list them', async () => {
    const lists: Record<string, string[]> = { right: ['relay', 'right'] }
    const allowed = (name: string): string[] => lists[name] ?? ['relay', 'left', 'right']
    const { node, idOf } = await start({ allowed })
    const denied = async (): Promise<boolean> => {
      // Only who misses somebody reserves by itself, and right has nobody to miss.
      await node('right').mesh.reserveRelay()
      const metrics = await node('right').registry.metrics()
      return /bzzz_peer_connects_total\{result="denied"\} [1-9]/.test(metrics)
    }
    await until(denied, 'right to refuse')
    expect(node('left').mesh.peer(idOf('right'))).toBeUndefined()
    expect(node('right').mesh.peer(idOf('left'))).toBeUndefined()
  })

  it('is not one where it is configured not to be', async () => {
    const { node, idOf } = await start({ relay: { ...RELAY, relay: 'off' } })
    await until(() => node('left').mesh.peers().length === 1, 'the connection to the first node')
    await expect(node('left').mesh.reserveRelay()).resolves.toBeUndefined()
    expect(node('left').mesh.peer(idOf('right'))).toBeUndefined()
  })
})

describe('the connection gater', () => {
  it('lets members only reserve, be reached, and reach through a relay', async () => {
    const denied: string[] = []
    const gater = createConnectionGater({
      selfId: 'self',
      isAllowed: (peerId) => peerId.startsWith('member'),
      onDenied: (peerId, direction) => denied.push(`${direction} ${peerId}`),
    })
    const peer = (name: string) => ({ toString: () => name }) as never
    const [member, other, stranger] = [peer('member 1'), peer('member 2'), peer('stranger')]
    expect([
      await gater.denyInboundRelayReservation?.(member),
      await gater.denyInboundRelayReservation?.(stranger),
      await gater.denyOutboundRelayedConnection?.(member, other),
      await gater.denyOutboundRelayedConnection?.(member, stranger),
      await gater.denyOutboundRelayedConnection?.(stranger, member),
      await gater.denyInboundRelayedConnection?.(member, other),
      await gater.denyInboundRelayedConnection?.(stranger, member),
      await gater.denyInboundRelayedConnection?.(member, stranger),
    ]).toEqual([false, true, false, true, true, false, true, true])
    expect(new Set(denied)).toEqual(new Set(['inbound stranger', 'outbound stranger']))
  })
})
