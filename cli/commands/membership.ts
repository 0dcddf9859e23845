import { randomBytes } from 'node:crypto'

import type { Command } from 'commander'

import { InvalidInvitationError } from '../../shared/errors.ts'
import { looksLikeInvitation, parseInvitation } from '../../shared/invitation/invitation.ts'
import { findNode, type NodeClient } from '../client/node-client.ts'
import { leavePendingJoin } from '../client/pending-join.ts'
import { readCliConfig } from '../config.ts'
import type { CommandHost } from '../host.ts'
import { formatPairs, formatTable } from '../output/table.ts'
import { layoutOf } from '../up/data-layout.ts'
import { readRunningState } from '../up/running-file.ts'
import { parseDuration } from './duration.ts'
import { nodeName } from './node-name.ts'

interface Options {
  json?: boolean
  data?: string
  node?: string
  name?: string
  expires?: number
  reusable?: boolean
}

interface Identity {
  peerId: string
  name: string
  addresses: string[]
}

interface Made {
  id: string
  expiresAt: string
  reusable: boolean
  addresses: string[]
  invitation: string
}

interface Open {
  id: string
  expiresAt: string
  reusable: boolean
  uses: { name: string }[]
}

interface Joined {
  through: { name: string }
  members: { peerId: string; name: string }[]
  connected: boolean
}

/** `bzzz node id|invite|invitations|withdraw|join|allow|network-key`: how nodes come in. */
export function membershipCommands(node: Command, host: CommandHost): void {
  const add = (name: string, description: string): Command =>
    node
      .command(name)
      .description(description)
      .option('--json', 'print JSON')
      .option('--data <dir>', 'data folder of a local cluster')
      .option('--node <name>', 'of several local nodes, which one (default: the first)')
  add('id', 'show who a node is and where it can be dialled').action((options: Options) =>
    showId(host, options),
  )
  add('invite', 'print one line with which a new node can join')
    .option(
      '--expires <duration>',
      'how long it is good, such as 30m or 7d (default: 1h)',
      parseDuration,
    )
    .option('--reusable', 'good for several nodes until it expires')
    .action((options: Options) => invite(host, options))
  add('invitations', 'list the invitations that a node gave out and that are still open').action(
    (options: Options) => listInvitations(host, options),
  )
  add('withdraw', 'take an invitation back')
    .argument('<id>', 'as bzzz node invitations shows it')
    .action((id: string, options: Options) => withdraw(host, id, options))
  add('join', 'make a node a member, with an invitation or the address of a member')
    .argument('<invitation>', 'the line of bzzz node invite, or a multiaddr with a peer id')
    .option('--name <name>', 'of the node, when it never ran (default: walnut)', nodeName)
    .action((text: string, options: Options) => joinCluster(host, text, options))
  add('allow', 'let a node in without an invitation; it then joins with an address')
    .argument('<peerid>', 'as bzzz node id shows it there')
    .argument('<name>', 'what it is called', nodeName)
    .action((peerId: string, name: string, options: Options) => allow(host, peerId, name, options))
  node
    .command('network-key')
    .description('print a new pre-shared key, for BZZZ_NETWORK_KEY_FILE of every node')
    .action(() => {
      host.stdout.write(`/key/swarm/psk/1.0.0/\n/base16/\n${randomBytes(32).toString('hex')}\n`)
    })
}

async function showId(host: CommandHost, options: Options): Promise<void> {
  const client = await findNode(host, options)
  const identity = await client.json<Identity>('/v1/node')
  const { peerId, name, addresses } = identity
  const pairs: [string, string][] = [
    ['node', name],
    ['peer id', peerId],
    ...addresses.map((address): [string, string] => ['address', address]),
  ]
  host.stdout.write(options.json ? `${JSON.stringify(identity)}\n` : formatPairs(pairs))
}

async function invite(host: CommandHost, options: Options): Promise<void> {
  const client = await findNode(host, options)
  const json = {
    reusable: options.reusable ?? false,
    ...(options.expires !== undefined && { lifetimeSeconds: options.expires / 1000 }),
  }
  const made = await client.json<Made>('/v1/invitations', { method: 'POST', json })
  host.stdout.write(options.json ? `${JSON.stringify(made)}\n` : `${made.invitation}\n`)
  const good = made.reusable ? 'for several nodes' : 'for one node'
  host.stderr.write(`bzzz: good ${good} until ${made.expiresAt}; whoever has the line can join\n`)
  if (made.addresses.every((address) => /^\/ip4\/127\.|^\/ip6\/::1\//.test(address))) {
    host.stderr.write(
      'bzzz: only this machine gets there: start with bzzz up --listen 0.0.0.0 to let others in\n',
    )
  }
}

async function listInvitations(host: CommandHost, options: Options): Promise<void> {
  const client = await findNode(host, options)
  const answer = await client.json<{ invitations: Open[] }>('/v1/invitations')
  const rows = answer.invitations.map(({ id, expiresAt, reusable, uses }) => [
    id,
    expiresAt,
    reusable ? 'several' : 'one',
    uses.map(({ name }) => name).join(', ') || '-',
  ])
  const table = formatTable(['id', 'until', 'for', 'used by'], rows)
  host.stdout.write(options.json ? `${JSON.stringify(answer)}\n` : table)
}

async function withdraw(host: CommandHost, id: string, options: Options): Promise<void> {
  const client = await findNode(host, options)
  const path = `/v1/invitations/${encodeURIComponent(id)}`
  await (await client.request(path, { method: 'DELETE' })).body.dump()
  host.stdout.write(options.json ? '{}\n' : `${id} is withdrawn\n`)
}

async function joinCluster(host: CommandHost, text: string, options: Options): Promise<void> {
  // Before anything is asked or written: a line that was cut in copying is the usual mistake.
  if (looksLikeInvitation(text)) parseInvitation(text)
  else if (!text.startsWith('/')) {
    throw new InvalidInvitationError('It is neither an invitation nor a multiaddr.')
  }
  const client = await findRunning(host, options)
  if (!client) return leavePending(host, text, options)
  const json = { invitation: text }
  const joined = await client.json<Joined>('/v1/nodes/join', { method: 'POST', json })
  const names = joined.members.map(({ name }) => name).join(', ')
  const late = joined.connected ? '' : '; it is not connected yet, bzzz status says more'
  const said = `joined through ${joined.through.name}; members: ${names}${late}\n`
  host.stdout.write(options.json ? `${JSON.stringify(joined)}\n` : said)
}

/** Undefined where no node runs that this command could mean. */
async function findRunning(host: CommandHost, options: Options): Promise<NodeClient | undefined> {
  const config = readCliConfig(host.env)
  const layout = layoutOf(options.data ?? config.BZZZ_DATA)
  if (!config.BZZZ_ENDPOINT && !(await readRunningState(layout))) return undefined
  return findNode(host, options)
}

async function leavePending(host: CommandHost, text: string, options: Options): Promise<void> {
  const config = readCliConfig(host.env)
  const dataDir = options.data ?? config.BZZZ_DATA
  const { name, root } = await leavePendingJoin(dataDir, text, options.name)
  const said = `${name} in ${root} joins when it is started: bzzz up\n`
  host.stdout.write(options.json ? `${JSON.stringify({ pending: true, name })}\n` : said)
}

async function allow(
  host: CommandHost,
  peerId: string,
  name: string,
  options: Options,
): Promise<void> {
  const client = await findNode(host, options)
  const json = { peerId, name }
  const answer = await client.json<object>('/v1/nodes/allow', { method: 'POST', json })
  const { addresses } = await client.json<Identity>('/v1/node')
  const said = `${name} may come in; there: bzzz node join ${addresses[0] ?? 'ADDRESS'}\n`
  host.stdout.write(options.json ? `${JSON.stringify(answer)}\n` : said)
}
