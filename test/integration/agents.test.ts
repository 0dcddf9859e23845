import { rm } from 'node:fs/promises'

import { describe, expect, it, onTestFinished } from 'vitest'

import { encodeAnnouncement } from '../../p2p-daemon/agents/announcement.ts'
import { AGENT_TOPIC } from '../../p2p-daemon/agents/constants.ts'
import type { GossipSub } from '@libp2p/gossipsub'
import { loadNodeKey } from '../../p2p-daemon/mesh/node-key.ts'
import { stopAll } from '../../shared/lifecycle.ts'
import { agentOf, AgentMesh } from '../helpers/agent-mesh.ts'
import {
  createMeshNode,
  startCluster,
  startNode,
  until,
  untilPeers,
  writeAllowList,
  type TestCluster,
  type TestNode,
} from '../helpers/mesh.ts'

const LEASE_MS = 600_000

async function startThree(init: { announceIntervalMs?: number } = {}) {
  const agents = new AgentMesh(init)
  const cluster = await startCluster({
    names: ['walnut', 'ironwood', 'acacia'],
    attach: agents.attach,
  })
  onTestFinished(() => cluster.stop())
  return { agents, cluster }
}

const everywhere = (cluster: TestCluster, agents: AgentMesh, ids: string[]): Promise<void> =>
  until(
    () => cluster.nodes.every(({ name }) => String(agents.known(name)) === String(ids)),
    `${String(ids)} on every node`,
  )

describe('agents of a mesh', () => {
  it('are known everywhere with all they said, then changed, then gone', async () => {
    const { agents, cluster } = await startThree()
    const own = agents.of('walnut').own
    own.register(agentOf(), LEASE_MS)
    await everywhere(cluster, agents, ['reviewer@apollo'])
    const seen = agents.of('acacia').registry.find('reviewer@apollo')!
    expect(seen).toMatchObject({ ...agentOf(), node: cluster.node('walnut').mesh.self.peerId })
    expect(agents.of('acacia').own.list()).toEqual([])

    own.heartbeat('reviewer@apollo', { load: 1 })
    const loadAt = (name: string) => agents.of(name).registry.find('reviewer@apollo')?.load
    await until(() => loadAt('ironwood') === 1 && loadAt('acacia') === 1, 'the load on both')

    own.withdraw('reviewer@apollo')
    await everywhere(cluster, agents, [])
  })

  it('are told to a node that comes late, at once and not at the next round', async () => {
    const agents = new AgentMesh({ announceIntervalMs: 3_600_000 })
    const cluster = await startCluster({ names: ['walnut', 'ironwood'], attach: agents.attach })
    onTestFinished(() => cluster.stop())
    agents.of('walnut').own.register(agentOf(), LEASE_MS)
    agents.of('ironwood').own.register(agentOf({ name: 'tester' }), LEASE_MS)

    const late = await newcomer(cluster, agents)
    await until(() => agents.known('late').length === 2, 'both agents at the newcomer')
    expect(agents.known('late')).toEqual(['reviewer@apollo', 'tester@apollo'])
    expect(late.mesh.peers()).toHaveLength(2)
  })

  it('of a node that is not on the list are not taken, from whoever passes them on', async () => {
    const { agents, cluster } = await startThree()
    const [walnut, ironwood, acacia] = cluster.nodes
    // Acacia no longer counts for walnut; ironwood listens to both and could pass it on.
    const kept = [ironwood!.nodeKey.peerId, walnut!.nodeKey.peerId]
    await writeAllowList(walnut!, kept)
    await untilPeers(walnut!.mesh, 1)
    agents.of('acacia').own.register(agentOf({ name: 'stranger' }), LEASE_MS)
    agents.of('ironwood').own.register(agentOf({ name: 'friend' }), LEASE_MS)
    await until(() => agents.known('ironwood').length === 2, 'both at ironwood')
    await until(() => agents.known('walnut').includes('friend@apollo'), 'the friend at walnut')
    // Once ironwood passes messages on to walnut, acacia's come along, and are refused.
    await until(async () => {
      agents.of('acacia').own.heartbeat('stranger@apollo', {})
      return (await heard(walnut!, 'stranger')) > 0
    }, 'a message of the stranger at walnut')
    expect(agents.known('walnut')).toEqual(['friend@apollo'])
    expect(acacia!.mesh.peers().map(({ name }) => name)).toEqual(['ironwood'])
  })

  it('are not taken from a message that nobody can read, and gossip goes on', async () => {
    const { agents, cluster } = await startThree()
    const walnut = cluster.node('walnut').mesh
    const gossip = walnut.service<GossipSub>('gossip')
    await gossip.publish(AGENT_TOPIC, Buffer.from('{"agents":[{"name":'))
    await gossip.publish(
      AGENT_TOPIC,
      encodeAnnouncement({
        epoch: 1,
        sequence: 1,
        complete: false,
        agents: [{ ...agentOf({ name: 'UPPER' }), registeredAtMs: 1, leaseMs: 1, leftMs: 1 }],
        withdrawn: [],
      }),
    )
    const ironwood = cluster.node('ironwood')
    await until(async () => (await heard(ironwood, 'unreadable')) === 2, 'both to be refused')
    agents.of('walnut').own.register(agentOf(), LEASE_MS)
    await everywhere(cluster, agents, ['reviewer@apollo'])
  })

  it('are found by what they can do through the DHT, when asked anew', async () => {
    const { agents, cluster } = await startThree({ announceIntervalMs: 3_600_000 })
    agents.of('walnut').own.register(agentOf(), LEASE_MS)
    await everywhere(cluster, agents, ['reviewer@apollo'])
    const { registry, exchange } = agents.of('acacia')
    const node = cluster.node('walnut').mesh.self.peerId
    // As after a message that was lost.
    registry.remove(node, 'reviewer@apollo', 'expired')
    expect(agents.known('acacia')).toEqual([])
    const signal = AbortSignal.timeout(30_000)
    await until(async () => {
      await exchange.refresh({ capability: 'llama-3' }, signal)
      return agents.known('acacia').length === 1
    }, 'the agent to be found')
    expect(registry.search({ model: 'llama-3' }, { after: '', limit: 9 })).toHaveLength(1)
  })
})

/** Announcements that the node counted under `result`. */
async function heard(node: TestNode, result: string): Promise<number> {
  const metric = node.registry.getSingleMetric('bzzz_agent_announcements_total')
  const { values } = await metric!.get()
  return values.find(({ labels }) => labels['result'] === result)!.value
}

async function newcomer(cluster: TestCluster, agents: AgentMesh) {
  const [first] = cluster.nodes
  const dataDir = `${first!.dataDir}-late`
  const nodeKey = await loadNodeKey(dataDir)
  const bootstrap = [first!.mesh.addresses()[0]!.replace(/\/p2p\/.*/, '')]
  const late = createMeshNode({ name: 'late', dataDir, nodeKey }, { bootstrap }, agents.attach)
  const peerIds = [...cluster.nodes.map((node) => node.nodeKey.peerId), nodeKey.peerId]
  for (const node of [...cluster.nodes, late]) {
    await writeAllowList(node, peerIds)
    if (node !== late) await node.allowList.reload()
  }
  await startNode(late)
  onTestFinished(async () => {
    await stopAll([late.mesh, ...late.parts])
    await rm(dataDir, { recursive: true })
  })
  await untilPeers(late.mesh, cluster.nodes.length)
  return late
}
