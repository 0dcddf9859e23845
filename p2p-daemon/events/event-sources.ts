import type { AgentRegistry } from '../agents/agent-registry.ts'
import { agentId } from '../agents/agent.ts'
import type { Mesh, Peer } from '../mesh/mesh.ts'
import { reachOf, type Reach } from '../mesh/partition.ts'
import type { NodeEvent } from './event.ts'

type Append = (event: NodeEvent) => void

/** Nodes that come and go, and whether with them the majority does. */
export function appendPeerEvents(components: {
  mesh: Pick<Mesh, 'on' | 'peers' | 'expectedPeers'>
  append: Append
}): void {
  const { mesh, append } = components
  let last: Reach['partition'] = 'none'
  const tell = (type: 'peer.joined' | 'peer.left', peer: Peer): void => {
    const { peerId, name, version, roles } = peer
    append({ type, project: null, data: { node: { peerId, name, version, roles } } })
    const reach = reachOf(mesh)
    if (reach.partition === last) return
    last = reach.partition
    append({ type: 'mesh.partition', project: null, data: reach })
  }
  mesh.on('join', (peer) => tell('peer.joined', peer))
  mesh.on('leave', (peer) => tell('peer.left', peer))
}

/** Agents of the whole cluster. Their load changes with every heartbeat and is no event. */
export function appendAgentEvents(components: {
  registry: Pick<AgentRegistry, 'onChange'>
  append: Append
}): void {
  const { registry, append } = components
  registry.onChange((change, agent) => {
    const { name, project, role, capabilities, endpoint, node } = agent
    const data = { agent: agentId(agent), name, project, role, capabilities, endpoint, node }
    append({ type: `agent.${change}`, project, data })
  })
}
