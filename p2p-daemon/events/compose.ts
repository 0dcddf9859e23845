import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { Counter, type Registry } from '../../shared/metrics/metrics.ts'
import type { AgentRegistry } from '../agents/agent-registry.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { RecordStore } from '../records/record-store.ts'
import type { RepairWorker } from '../replication/repair-worker.ts'
import type { ReplicationStatus } from '../replication/replication-status.ts'
import { EventLog } from './event-log.ts'
import { appendAgentEvents, appendPeerEvents } from './event-sources.ts'
import { EventStreams, type EventStreamsInit } from './event-streams.ts'
import { EVENT_TYPES, type NodeEvent } from './event.ts'
import { RecordEvents } from './record-events.ts'
import { ReplicationEvents } from './replication-events.ts'

export interface EventsComponents {
  mesh: Pick<Mesh, 'on' | 'peers' | 'expectedPeers'>
  agents: Pick<AgentRegistry, 'onChange'>
  records: Pick<RecordStore, 'since' | 'lastSequence'>
  replication: {
    status: () => Promise<ReplicationStatus>
    worker: Pick<RepairWorker, 'onRepair'>
  }
  log: Logger
  registry: Registry
}

export interface EventsInit extends EventStreamsInit {
  keptMax?: number
}

/** Everything that is told on `GET /v1/events`, wired; `parts` are started in order. */
export function composeEvents(components: EventsComponents, init: EventsInit = {}) {
  const { mesh, agents, records, replication, registry } = components
  const log = components.log.child({ component: 'events' })
  const { keptMax, ...streamsInit } = init
  // Rises from start to start, and two starts within a millisecond do not happen.
  const epoch = Date.now().toString(36)
  const events = new EventLog({ epoch, ...(keptMax !== undefined && { keptMax }) })
  const counter = new Counter({
    name: 'bzzz_events_total',
    help: 'Events of this node by type',
    labelNames: ['type'],
    registers: [registry],
  })
  for (const type of EVENT_TYPES) counter.inc({ type }, 0)
  const append = (event: NodeEvent): void => {
    counter.inc({ type: event.type })
    events.append(event)
  }
  appendPeerEvents({ mesh, append })
  appendAgentEvents({ registry: agents, append })
  const streams = new EventStreams({ log: events, registry }, streamsInit)
  const recordEvents = new RecordEvents({ store: records, append, log })
  const replicationEvents = new ReplicationEvents({ status: replication.status, append, log })
  replication.worker.onRepair((reason, result) => replicationEvents.repaired(reason, result))
  const parts: Startable[] = [recordEvents, replicationEvents, streams]
  return { append, streams, parts }
}
