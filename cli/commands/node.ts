import { setTimeout as sleep } from 'node:timers/promises'

import type { Command } from 'commander'

import { findNode, type NodeClient } from '../client/node-client.ts'
import type { CommandHost } from '../host.ts'
import { formatBytes, formatUptime, shortPeerId } from '../output/format.ts'
import { formatTable } from '../output/table.ts'
import { membershipCommands } from './membership.ts'

interface Options {
  json?: boolean
  data?: string
  force?: boolean
  cancel?: boolean
  wait?: boolean
}

interface Report {
  draining: boolean
  drained: boolean
  remaining: number
  blobs: number
  bytes: number
  owed: number
  underReplicated: number
}

interface ListedNode {
  peerId: string
  name: string
  state: string
  weight: number | null
  zone: string | null
  awaySeconds: number | null
  report: Report | null
}

/** A drain moves gigabytes; asking more often shows nothing new. */
const DRAIN_POLL_MS = 1_000

/** `bzzz node ls|drain|remove`: who is in the cluster, and how one leaves it; and the way in. */
export function nodeCommand(program: Command, host: CommandHost): void {
  const node = program.command('node').description('the nodes of the cluster')
  const add = (name: string, description: string): Command =>
    node
      .command(name)
      .description(description)
      .option('--json', 'print JSON')
      .option('--data <dir>', 'data folder of a local cluster')
  membershipCommands(node, host)
  add('ls', 'list the nodes, what they hold and what is owed').action((options: Options) =>
    list(host, options),
  )
  add('drain', 'move the copies of a node to the others')
    .argument('<node>', 'name or peer id')
    .option('--cancel', 'let it take copies again')
    .option('--wait', 'until it holds nothing that others lack')
    .action((name: string, options: Options) => drain(host, name, options))
  add('remove', 'take a drained node out of the cluster for good')
    .argument('<node>', 'name or peer id')
    .option('--force', 'although it is not drained: what only it holds is lost')
    .action((name: string, options: Options) => remove(host, name, options))
}

async function list(host: CommandHost, options: Options): Promise<void> {
  const client = await findNode(host, withoutNode(options))
  const found = await client.json<{ nodes: ListedNode[] }>('/v1/nodes')
  const head = ['node', 'peer', 'state', 'zone', 'weight', 'blobs', 'stored', 'owed', 'away for']
  const rows = found.nodes.map(({ name, peerId, state, zone, weight, report, awaySeconds }) => [
    name,
    shortPeerId(peerId),
    report?.drained ? 'drained' : state,
    zone ?? '-',
    weight === null ? '-' : String(weight),
    report ? String(report.blobs) : '-',
    report ? formatBytes(report.bytes) : '-',
    report ? String(report.owed) : '-',
    awaySeconds === null ? '-' : formatUptime(awaySeconds),
  ])
  host.stdout.write(options.json ? `${JSON.stringify(found)}\n` : formatTable(head, rows))
}

async function drain(host: CommandHost, name: string, options: Options): Promise<void> {
  const client = await findNode(host, withoutNode(options))
  const path = `/v1/nodes/${encodeURIComponent(name)}/drain`
  const method = options.cancel ? 'DELETE' : 'POST'
  let report = await client.json<Report>(path, { method })
  if (options.wait && !options.cancel) report = await waitUntilDrained(host, client, name)
  const text = options.cancel
    ? `${name} takes copies again\n`
    : report.drained
      ? `${name} is drained: bzzz node remove ${name}\n`
      : `${name} is being drained: ${report.remaining} blobs to go\n`
  host.stdout.write(options.json ? `${JSON.stringify(report)}\n` : text)
}

async function waitUntilDrained(
  host: CommandHost,
  client: NodeClient,
  name: string,
): Promise<Report> {
  for (;;) {
    const { nodes } = await client.json<{ nodes: ListedNode[] }>('/v1/nodes')
    const report = nodes.find((node) => node.name === name || node.peerId === name)?.report
    if (report?.drained) return report
    if (report && host.stderr.isTTY === true) {
      host.stderr.write(`\r${name}: ${report.remaining} blobs to go  `)
    }
    await sleep(DRAIN_POLL_MS, undefined, { signal: host.signal })
  }
}

async function remove(host: CommandHost, name: string, options: Options): Promise<void> {
  const client = await findNode(host, withoutNode(options))
  const path = `/v1/nodes/${encodeURIComponent(name)}/remove`
  const json = { force: options.force ?? false }
  const answer = await client.json<{ told: string[]; notTold: string[] }>(path, {
    method: 'POST',
    json,
  })
  const late = answer.notTold.length
  const text = `${name} is removed${late > 0 ? `; ${late} nodes that are away learn of it later` : ''}\n`
  host.stdout.write(options.json ? `${JSON.stringify(answer)}\n` : text)
}

/** `--node` is not an option here: any node can be asked about any other. */
function withoutNode({ data }: Options): { data?: string } {
  return data === undefined ? {} : { data }
}
