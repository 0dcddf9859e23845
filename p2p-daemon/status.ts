import type { AgentRegistry } from './agents/agent-registry.ts'
import type { OwnAgents } from './agents/own-agents.ts'
import type { LastError, LoggedError } from './last-error.ts'
import type { JoinState } from './join/pending-join.ts'
import type { Collector } from './lifetime/collector.ts'
import type { Pins } from './lifetime/pins.ts'
import type { BootstrapState } from './mesh/dialler.ts'
import type { Mesh, Peer } from './mesh/mesh.ts'
import { reachOf } from './mesh/partition.ts'
import type { ReplicationStatus } from './replication/replication-status.ts'
import type { RecordStore } from './records/record-store.ts'
import type { SearchIndex } from './records/search-index.ts'
import type { Scrubber } from './scrub/scrubber.ts'
import type { BlobStore } from './store/blob-store.ts'

export interface NodeStatus {
  node: {
    peerId: string
    name: string
    version: string
    roles: readonly string[]
    zone: string
    weight: number
    uptimeSeconds: number
  }
  store: { blobs: number; bytes: number; writable: boolean; reason: string | null }
  peers: readonly Peer[]
  /** `minority`: with this one fewer than `needed` nodes are in reach; see mesh/partition.ts. */
  mesh: {
    expected: number
    connected: number
    needed: number
    partition: 'none' | 'minority'
    /** Nodes of the bootstrap list; with none connected, `lastError` says why and it goes on. */
    bootstrap: { nodes: number; connected: number; lastError: string | null }
    /** What became of an invitation that lay there when the node started. */
    join: JoinState
  }
  records: { addresses: number }
  replication: ReplicationStatus
  /** The pass that runs or ran last. */
  scrub: {
    state: string
    checked: number
    total: number
    bad: number
    lastSuccessAt: string | null
  }
  /** The collection that runs or ran last, and the hold that keeps others away. */
  gc: { state: string; outcome: string | null; reason: string | null; hold: string | null }
  database: { state: 'unused' | 'unknown' | 'up' | 'down' }
  /** Agents registered through this node, and all that it knows of. */
  agents: { own: number; known: number }
  /** The last error in the log of this node since it started. */
  lastError: LoggedError | null
}

export interface StatusComponents {
  mesh: Pick<Mesh, 'self' | 'peers' | 'expectedPeers'> & {
    bootstrap?(): readonly BootstrapState[]
  }
  join?: { readonly state: JoinState } | undefined
  store: Pick<BlobStore, 'usage'> & { health(): { writable: boolean; reason: string | null } }
  records: Pick<RecordStore, 'addresses'>
  replication: () => Promise<ReplicationStatus>
  searchIndex: Pick<SearchIndex, 'state'> | undefined
  scrubber: Pick<Scrubber, 'current'>
  collector: Pick<Collector, 'current'>
  pins: Pick<Pins, 'activeHold'>
  agents: { own: Pick<OwnAgents, 'list'>; registry: Pick<AgentRegistry, 'size'> }
  lastError: Pick<LastError, 'current'>
}

/** What `GET /v1/status` and `bzzz status` show of this node. */
export function createStatus(components: StatusComponents): () => Promise<NodeStatus> {
  const startedAt = performance.now()
  return async () => {
    const { mesh, store, records, replication, searchIndex, agents, lastError } = components
    const { peerId, name, version, roles, zone, weight } = mesh.self
    const uptimeSeconds = Math.round((performance.now() - startedAt) / 1000)
    const health = store.health()
    const peers = mesh.peers()
    const { members, needed, partition } = reachOf(mesh)
    return {
      node: { peerId, name, version, roles, zone, weight, uptimeSeconds },
      store: { ...(await store.usage()), writable: health.writable, reason: health.reason },
      peers,
      mesh: {
        expected: members - 1,
        connected: peers.length,
        needed,
        partition,
        bootstrap: bootstrapStatus(mesh.bootstrap?.() ?? []),
        join: components.join?.state ?? { state: 'none', error: null },
      },
      records: { addresses: records.addresses() },
      replication: await replication(),
      ...keepingStatus(components),
      database: { state: searchIndex?.state() ?? 'unused' },
      agents: { own: agents.own.list().length, known: agents.registry.size },
      lastError: lastError.current(),
    }
  }
}

function bootstrapStatus(nodes: readonly BootstrapState[]): NodeStatus['mesh']['bootstrap'] {
  const connected = nodes.filter((node) => node.connected).length
  const failed = nodes.find(({ lastError }) => lastError !== null)
  const lastError = connected > 0 || !failed ? null : `${failed.address}: ${failed.lastError}`
  return { nodes: nodes.length, connected, lastError }
}

function keepingStatus({
  scrubber,
  collector,
  pins,
}: Pick<StatusComponents, 'scrubber' | 'collector' | 'pins'>): Pick<NodeStatus, 'scrub' | 'gc'> {
  const {
    state = 'idle',
    checked = 0,
    total = 0,
    bad = 0,
    lastSuccessMs,
  } = scrubber.current() ?? {}
  const lastSuccessAt = lastSuccessMs ? new Date(lastSuccessMs).toISOString() : null
  const run = collector.current()
  return {
    scrub: { state, checked, total, bad, lastSuccessAt },
    gc: {
      state: run?.state ?? 'idle',
      outcome: run?.outcome ?? null,
      reason: run?.reason ?? null,
      hold: pins.activeHold()?.key ?? null,
    },
  }
}
