import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { composeJoin } from '../../p2p-daemon/join/compose.ts'
import { Door } from '../../p2p-daemon/join/door.ts'
import { Invitations } from '../../p2p-daemon/join/invitations.ts'
import { FileAllowList } from '../../p2p-daemon/mesh/allow-list.ts'
import { Libp2pMesh, type Libp2pMeshInit } from '../../p2p-daemon/mesh/libp2p-mesh.ts'
import { NetworkKey } from '../../p2p-daemon/mesh/network-key.ts'
import { loadNodeKey } from '../../p2p-daemon/mesh/node-key.ts'
import { NodeState } from '../../p2p-daemon/nodes/node-state.ts'
import { Nodes } from '../../p2p-daemon/nodes/nodes.ts'
import { composeReplication } from '../../p2p-daemon/replication/compose.ts'
import { MemoryStore } from '../../p2p-daemon/store/memory-store.ts'
import { startAll, stopAll } from '../../shared/lifecycle.ts'
import { createSilentLogger } from '../../shared/log/log.ts'
import { Registry } from '../../shared/metrics/metrics.ts'
import { createTestTokens } from './tokens.ts'

export type JoinNode = Awaited<ReturnType<typeof startJoinNode>>

/**
 * A node with a real mesh on 127.0.0.1 and all that lets nodes in and removes them, without blobs
 * worth mentioning and without HTTP. It knows nobody.
 */
export async function startJoinNode(
  name: string,
  init: {
    dataDir?: string
    networkKey?: string
    mesh?: Partial<Libp2pMeshInit>
    connectedTimeoutMs?: number
  } = {},
) {
  const dataDir = init.dataDir ?? (await mkdtemp(join(tmpdir(), `bzzz-${name}-`)))
  const log = createSilentLogger()
  const registry = new Registry()
  const nodeKey = await loadNodeKey(dataDir)
  const networkKey = await NetworkKey.load(dataDir, init.networkKey)
  const invitations = await Invitations.load(dataDir)
  const allowList = new FileAllowList({ log }, { dataDir, pollMs: 100 })
  const door = new Door({ log, registry })
  const mesh = new Libp2pMesh(
    { log, nodeKey, allowList, registry, networkKey, door },
    {
      listen: ['/ip4/127.0.0.1/tcp/0'],
      nodeInfo: {
        name,
        version: '2.0.0-test',
        roles: [],
        storage: true,
        weight: 1,
        zone: 'default',
        bulkPort: null,
      },
      dataDir,
      ...init.mesh,
    },
  )
  const store = new MemoryStore()
  const transfer = { fetch: () => Promise.reject(new Error('There are no blobs.')) }
  const replication = composeReplication(
    { mesh, store, transfer, log },
    {
      ledgerFile: join(dataDir, 'replication.db'),
      awayGraceMs: 60_000,
      repairBytesPerSecond: 64 * 1024 * 1024,
    },
  )
  const nodes = new Nodes(
    {
      mesh,
      allowList,
      members: replication.members,
      state: await NodeState.load(dataDir),
      report: async () => ({ ...(await replication.status()), ...(await store.usage()) }),
      rescan: () => replication.rebalancer.request(),
      log,
    },
    { weight: 1, forgetful: false },
  )
  const tokens = await createTestTokens(dataDir)
  const { admissions } = nodes
  const { inviter, joiner, pending } = composeJoin(
    { mesh, door, allowList, admissions, invitations, networkKey, nodeKey, log },
    {
      dataDir,
      tokenKeysFile: tokens.keysFile,
      connectedTimeoutMs: init.connectedTimeoutMs,
    },
  )
  const parts = [mesh, ...replication.parts, pending]
  await startAll(parts)
  const { peerId } = nodeKey
  const stop = async (): Promise<void> => {
    await stopAll(parts)
    replication.close()
  }
  return {
    name,
    peerId,
    dataDir,
    registry,
    mesh,
    allowList,
    nodes,
    inviter,
    joiner,
    pending,
    nodeKey,
    networkKey,
    tokens,
    peerNames: () => mesh.peers().map((peer) => peer.name),
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop()
      if (init.dataDir === undefined) await rm(dataDir, { recursive: true })
    },
  }
}
