import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'
import type { Provider } from '../dht/provider.ts'
import { PeerFollower } from '../lifetime/peer-follower.ts'
import type { Libp2pMesh } from '../mesh/libp2p-mesh.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { AgentAnnouncer, type Announcements } from './agent-announcer.ts'
import { AgentExchange } from './agent-exchange.ts'
import { createAgentMetrics } from './agent-metrics.ts'
import { AgentRegistry } from './agent-registry.ts'
import { AgentStore } from './agent-store.ts'
import { AnnouncementReceiver } from './announcement-receiver.ts'
import { CapabilityAnnouncer } from './capability-announcer.ts'
import { AGENT_TOPIC, ANNOUNCEMENT_BYTES_MAX } from './constants.ts'
import { GossipTopic, type Verdict } from './gossip-topic.ts'
import { OwnAgents } from './own-agents.ts'

type Receive = (from: string, bytes: Uint8Array) => Verdict

export interface AgentsComponents {
  mesh: Mesh
  /** Makes the road on which announcements travel; `gossipOver(mesh)` outside of tests. */
  createTopic: (components: { log: Logger; receive: Receive }) => Announcements & Startable
  provider: Pick<Provider, 'provide' | 'withdraw' | 'findProviders'>
  isMember: (peerId: string) => boolean
  /** What people call a node, where that is known. */
  nameOf: (peerId: string) => string | null
  log: Logger
  registry: Registry
}

export interface AgentsInit {
  agentsFile: string
  announceIntervalMs?: number
}

/** Everything a node does with agents, wired; `parts` are started after the mesh. */
export function composeAgents(components: AgentsComponents, init: AgentsInit) {
  const { mesh, provider, isMember, nameOf, registry: metricsRegistry } = components
  const log = components.log.child({ component: 'agents' })
  const selfId = mesh.self.peerId
  const registry = new AgentRegistry()
  const store = new AgentStore(init.agentsFile)
  const own = new OwnAgents({ registry, store }, { selfId })
  const metrics = createAgentMetrics(metricsRegistry, {
    own: () => own.list().length,
    known: () => registry.size,
  })
  registry.onChange((change) => metrics.changed(change))
  const receiver = new AnnouncementReceiver({ registry, isMember, metrics, log })
  const receive: Receive = (from, bytes) => receiver.receive(from, bytes)
  const topic = components.createTopic({ log, receive })
  const capabilities = new CapabilityAnnouncer({ own, store, provider })
  const { announceIntervalMs: intervalMs } = init
  const announcer = new AgentAnnouncer(
    { own, registry, announcements: topic, isMember },
    { selfId, ...(intervalMs !== undefined && { intervalMs }) },
  )
  const exchange = new AgentExchange({ mesh, own, registry, provider, log })
  const pull = (peerId: string, signal: AbortSignal) => exchange.pull(peerId, signal)
  const follower = new PeerFollower({ mesh, log, pull }, { what: 'agents' })
  // Before the mesh starts: a peer that asks at once is not told that there are none.
  own.restore()
  capabilities.compare()
  const parts: Startable[] = [topic, announcer, follower]
  return { registry, own, exchange, nameOf, parts, close: (): void => store.close() }
}

/** Signed gossip between the members of a mesh. */
export function gossipOver(
  mesh: Pick<Libp2pMesh, 'addService' | 'service'>,
): AgentsComponents['createTopic'] {
  return ({ log, receive }) =>
    new GossipTopic(
      { mesh, log, receive },
      { topic: AGENT_TOPIC, messageBytesMax: ANNOUNCEMENT_BYTES_MAX },
    )
}
