import type {
  ClusterStatus,
  LastError,
  ListedMember,
  NodeStatus,
  Reached,
} from '../client/cluster-status.ts'
import { formatBytes, formatUptime, shortPeerId } from './format.ts'
import { formatPairs, formatTable } from './table.ts'

/** Links shown; of more, the slowest, which are the ones that somebody looks for. */
const LINKS_SHOWN_MAX = 12

const HEAD = [
  'node',
  'peer',
  'state',
  'role',
  'peers',
  'latency',
  'blobs',
  'stored',
  'owed',
  'short',
  'agents',
  'up for',
] as const

/** The cluster for people: nodes, links, services, and whatever is not as it should be. */
export function formatStatus(cluster: ClusterStatus): string {
  const rows = [
    ...cluster.nodes.map((node) => rowOf(node.name, node, cluster)),
    ...notAsked(cluster).map((member) => rowOfMember(member, cluster)),
  ]
  const problems = [
    ...cluster.nodes.flatMap((node) => problemsOf(node).map((text) => `${node.name}: ${text}`)),
    ...(cluster.gateway.up ? [] : [`gateway: ${cluster.gateway.error}`]),
  ]
  return [
    formatTable(HEAD, rows),
    ...linkText(cluster),
    formatPairs([
      ['gateway', gatewayText(cluster.gateway)],
      ['database', databaseText(cluster)],
      ['agents', agentsText(cluster)],
      ['version', versionText(cluster)],
    ]),
    ...section('problems', problems),
    ...section('last errors', cluster.nodes.flatMap(lastErrorOf)),
  ].join('\n')
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}\n${lines.map((text) => `  ${text}\n`).join('')}`]
}

function rowOf(name: string, node: Reached<NodeStatus>, cluster: ClusterStatus): string[] {
  if (!node.up) return [name, '-', 'down', ...Array<string>(HEAD.length - 3).fill('-')]
  const { node: self, store, mesh, peers, replication, agents } = node.status
  const member = cluster.members?.find(({ peerId }) => peerId === self.peerId)
  return [
    name,
    shortPeerId(self.peerId),
    mesh.partition === 'none' ? (member?.state ?? 'live') : mesh.partition,
    self.roles.join(', ') || '-',
    `${mesh.connected} of ${mesh.expected}`,
    latencyText(peers.map(({ latencyMs }) => latencyMs)),
    String(store.blobs),
    formatBytes(store.bytes),
    String(replication.owed),
    String(replication.underReplicated),
    String(agents?.own ?? '-'),
    formatUptime(self.uptimeSeconds),
  ]
}

/** Members that others tell of, on machines of their own: their HTTP API is not in reach. */
function notAsked({ nodes, members }: ClusterStatus): ListedMember[] {
  const asked = nodes.flatMap((node) => (node.up ? [node.status.node.peerId] : []))
  const down = nodes.flatMap((node) => (node.up ? [] : [node.name]))
  return (members ?? []).filter(
    ({ peerId, name }) => !asked.includes(peerId) && !down.includes(name),
  )
}

function rowOfMember(
  { name, peerId, state, report, awaySeconds }: ListedMember,
  { nodes }: ClusterStatus,
): string[] {
  const seen = nodes
    .flatMap((node) => (node.up ? node.status.peers : []))
    .filter((peer) => peer.peerId === peerId)
  const roles = seen[0]?.roles?.join(', ') || '-'
  const latency = latencyText(seen.map(({ latencyMs }) => latencyMs))
  const away = awaySeconds === null ? '' : ` ${formatUptime(awaySeconds)}`
  const held = report
    ? [report.blobs, formatBytes(report.bytes), report.owed, report.underReplicated].map(String)
    : ['-', '-', '-', '-']
  return [name, shortPeerId(peerId), `${state}${away}`, roles, '-', latency, ...held, '-', '-']
}

/** Of the slowest peer: the one that a put of three copies waits for. */
function latencyText(latenciesMs: readonly (number | null)[]): string {
  const known = latenciesMs.filter((ms) => ms !== null)
  return known.length === 0 ? '-' : `${Math.max(...known).toFixed(1)} ms`
}

interface Link {
  between: string
  latencyMs: number | null
  road: string
  sinceMs: number | null
}

/** Each pair of nodes once, with the greater latency of what the two measured. */
export function linksOf(cluster: ClusterStatus): Link[] {
  const links = new Map<string, Link>()
  for (const node of cluster.nodes) {
    if (!node.up) continue
    for (const { name, latencyMs, link = 'direct', connectedSinceMs = null } of node.status.peers) {
      const between = [node.name, name].toSorted().join(' - ')
      const known = links.get(between)
      const slower = Math.max(latencyMs ?? -1, known?.latencyMs ?? -1)
      links.set(between, {
        between,
        latencyMs: slower < 0 ? null : slower,
        road: link === 'direct' ? (known?.road ?? link) : link,
        sinceMs: connectedSinceMs ?? known?.sinceMs ?? null,
      })
    }
  }
  return [...links.values()].toSorted((a, b) => a.between.localeCompare(b.between))
}

function linkText(cluster: ClusterStatus): string[] {
  const links = linksOf(cluster)
  if (links.length === 0) return []
  const slowest = links.toSorted((a, b) => (b.latencyMs ?? Infinity) - (a.latencyMs ?? Infinity))
  const shown = slowest.slice(0, LINKS_SHOWN_MAX)
  const rows = links
    .filter((link) => shown.includes(link))
    .map(({ between, latencyMs, road, sinceMs }) => [
      between,
      latencyText([latencyMs]),
      road,
      sinceMs === null ? '-' : formatUptime(Math.max(0, Math.round((Date.now() - sinceMs) / 1000))),
    ])
  const left = links.length - shown.length
  const more = left > 0 ? `and ${left} that are faster (--json lists all)\n` : ''
  return [`${formatTable(['link', 'latency', 'road', 'up for'], rows)}${more}`]
}

function problemsOf(node: Reached<NodeStatus>): string[] {
  if (!node.up) return [node.error]
  const { store, mesh, replication, database } = node.status
  const missing = mesh.expected - mesh.connected
  return [
    ...(store.writable ? [] : [`the disk refuses writes: ${store.reason ?? 'no reason given'}`]),
    ...(missing > 0 ? [`${missing} of ${mesh.expected} peers are not connected`] : []),
    ...bootstrapProblems(mesh.bootstrap),
    ...(mesh.join?.error ? [`it has not joined: ${mesh.join.error}`] : []),
    ...(mesh.partition === 'none'
      ? []
      : ['it is cut off from the majority: it serves reads and refuses writes']),
    ...(replication.owed > 0 ? [`${replication.owed} copies are still owed to other nodes`] : []),
    // Of fewer than three nodes it is known that three copies cannot be.
    ...(replication.underReplicated > 0 && mesh.expected >= 2
      ? [`${replication.underReplicated} blobs have fewer copies than they should`]
      : []),
    ...(database.state === 'down' ? ['the database is down; addresses resolve without it'] : []),
  ]
}

function bootstrapProblems(bootstrap: NodeStatus['mesh']['bootstrap']): string[] {
  if (!bootstrap || bootstrap.nodes === 0 || bootstrap.connected > 0) return []
  const reason = bootstrap.lastError ? ` (${bootstrap.lastError})` : ''
  return [`no bootstrap node is reached, it keeps trying${reason}`]
}

function lastErrorOf({ name, ...node }: ClusterStatus['nodes'][number]): string[] {
  const last: LastError | null | undefined = node.up ? node.status.lastError : null
  if (!last) return []
  const agoSeconds = Math.max(0, Math.round((Date.now() - Date.parse(last.at)) / 1000))
  const code = last.code === null ? '' : ` (${last.code})`
  return [`${name}: ${formatUptime(agoSeconds)} ago: ${last.message}${code}`]
}

function gatewayText(gateway: ClusterStatus['gateway']): string {
  if (!gateway.up) return `down at ${gateway.endpoint}`
  const functions = gateway.status.functions.map(({ name, availableReplicas, replicas }) => {
    const running = availableReplicas ?? replicas ?? 0
    return running > 0 ? name : `${name} (down)`
  })
  return `${gateway.endpoint}  functions: ${functions.join(', ') || 'none'}`
}

/** One word when all nodes agree. */
function databaseText(cluster: ClusterStatus): string {
  const states = cluster.nodes.flatMap((node) => (node.up ? [node.status.database.state] : []))
  return [...new Set(states)].join(', ') || 'unknown'
}

/** Every node knows them all, so the one that knows most has heard most. */
function agentsText(cluster: ClusterStatus): string {
  const known = cluster.nodes.flatMap((node) =>
    node.up && node.status.agents ? [node.status.agents.known] : [],
  )
  return known.length === 0 ? 'unknown' : String(Math.max(...known))
}

/** One version, or who has which where they differ, peers that were not asked included. */
function versionText(cluster: ClusterStatus): string {
  const versions = new Map<string, string>()
  for (const node of cluster.nodes) {
    if (!node.up) continue
    for (const peer of node.status.peers) {
      if (peer.version !== undefined) versions.set(peer.name, peer.version)
    }
  }
  for (const node of cluster.nodes) {
    if (node.up) versions.set(node.name, node.status.node.version)
  }
  const different = new Set(versions.values())
  if (different.size <= 1) return [...different][0] ?? 'unknown'
  return [...versions].map(([name, version]) => `${name} ${version}`).join(', ')
}
