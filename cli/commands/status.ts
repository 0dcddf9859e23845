import type { Command } from 'commander'

import { DaemonUnavailableError } from '../../shared/errors.ts'
import {
  readClusterStatus,
  type ClusterStatus,
  type NodeStatus,
  type Reached,
} from '../client/cluster-status.ts'
import { findConnection } from '../client/connection.ts'
import type { CommandHost } from '../host.ts'
import { formatBytes, formatUptime, shortPeerId } from '../output/format.ts'
import { formatPairs, formatTable } from '../output/table.ts'

interface Options {
  json?: boolean
  data?: string
}

export function statusCommand(program: Command, host: CommandHost): void {
  program
    .command('status')
    .description('show the nodes, the gateway and the database')
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of a local cluster')
    .action((options: Options) => status(host, options))
}

async function status(host: CommandHost, options: Options): Promise<void> {
  const connection = await findConnection(host, options.data)
  const cluster = await readClusterStatus(connection, host.signal)
  host.stdout.write(options.json ? `${JSON.stringify(cluster)}\n` : formatStatus(cluster))
  const [first] = cluster.nodes
  if (first?.up === false && cluster.nodes.every(({ up }) => !up)) {
    throw new DaemonUnavailableError(`No node answers: ${first.error}`)
  }
}

export function formatStatus(cluster: ClusterStatus): string {
  const table = formatTable(
    ['node', 'peer', 'role', 'peers', 'latency', 'blobs', 'stored', 'addresses', 'owed', 'up for'],
    cluster.nodes.map((node) => rowOf(node.name, node)),
  )
  const problems = [
    ...cluster.nodes.flatMap((node) => problemsOf(node).map((text) => `${node.name}: ${text}`)),
    ...(cluster.gateway.up ? [] : [`gateway: ${cluster.gateway.error}`]),
  ]
  return [
    table,
    formatPairs([
      ['gateway', gatewayText(cluster.gateway)],
      ['database', databaseText(cluster)],
      ['version', versionText(cluster)],
    ]),
    ...(problems.length > 0 ? [`problems\n${problems.map((text) => `  ${text}\n`).join('')}`] : []),
  ].join('\n')
}

function rowOf(name: string, node: Reached<NodeStatus>): string[] {
  if (!node.up) return [name, '-', 'down', ...Array<string>(7).fill('-')]
  const { node: self, store, mesh, peers, records, replication } = node.status
  return [
    name,
    shortPeerId(self.peerId),
    self.roles.join(', ') || '-',
    `${mesh.connected} of ${mesh.expected}`,
    latencyText(peers.map(({ latencyMs }) => latencyMs)),
    String(store.blobs),
    formatBytes(store.bytes),
    String(records.addresses),
    String(replication.owed),
    formatUptime(self.uptimeSeconds),
  ]
}

/** Of the slowest peer: the one that a put of three copies waits for. */
function latencyText(latenciesMs: readonly (number | null)[]): string {
  const known = latenciesMs.filter((ms) => ms !== null)
  return known.length === 0 ? '-' : `${Math.max(...known).toFixed(1)} ms`
}

function problemsOf(node: Reached<NodeStatus>): string[] {
  if (!node.up) return [node.error]
  const { store, mesh, replication, database } = node.status
  const missing = mesh.expected - mesh.connected
  return [
    ...(store.writable ? [] : [`the disk refuses writes: ${store.reason ?? 'no reason given'}`]),
    ...(missing > 0 ? [`${missing} of ${mesh.expected} peers are not connected`] : []),
    ...(mesh.partition === 'none' ? [] : ['it is cut off from the majority']),
    ...(replication.owed > 0 ? [`${replication.owed} copies are still owed to other nodes`] : []),
    ...(database.state === 'down' ? ['the database is down; addresses resolve without it'] : []),
  ]
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

function versionText(cluster: ClusterStatus): string {
  const versions = cluster.nodes.flatMap((node) => (node.up ? [node.status.node.version] : []))
  return [...new Set(versions)].join(', ') || 'unknown'
}
