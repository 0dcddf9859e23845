import { readFile } from 'node:fs/promises'
import { buffer } from 'node:stream/consumers'

import type { Command } from 'commander'
import { z } from 'zod'

import { InvalidRequestError } from '../../shared/errors.ts'
import type { RecordJSON } from '../../shared/record/record.ts'
import { findNode, type NodeClient } from '../client/node-client.ts'
import type { CommandHost } from '../host.ts'
import { shortPeerId } from '../output/format.ts'
import { formatTable } from '../output/table.ts'
import { integer } from './integer.ts'

interface Options {
  ifVersion?: number
  json?: boolean
  data?: string
  node?: string
}

interface Policy {
  rules: { project: string; agent?: string; authors: string[] }[]
  editors?: string[]
}

interface Shown {
  address: string
  record: RecordJSON | null
  policy: Policy
}

const PATH = '/v1/policy/ownership'

/** Only what has to be known to put peer ids in place of names; the node checks the rest. */
const namesSchema = z.looseObject({
  rules: z.array(z.looseObject({ authors: z.array(z.string()) })),
  editors: z.array(z.string()).exactOptional(),
})

/** `bzzz policy show|set`: which nodes may write which addresses. */
export function policyCommand(program: Command, host: CommandHost): void {
  const policy = program
    .command('policy')
    .description('which nodes may write the addresses of which projects and agents')
  const add = (name: string, description: string): Command =>
    policy
      .command(name)
      .description(description)
      .option('--json', 'print JSON')
      .option('--data <dir>', 'data folder of a local cluster')
      .option('--node <name>', 'ask this node (default: the first that answers)')
  add('show', 'show the policy that stands').action((options: Options) => show(host, options))
  add('set', 'write the next version of the policy')
    .argument('<file>', 'JSON; - reads it from stdin')
    .option(
      '--if-version <n>',
      'only while this version stands; 0: none yet (default: the one that stands now)',
      (text) => integer(text, 0),
    )
    .action((file: string, options: Options) => set(host, file, options))
}

async function show(host: CommandHost, options: Options): Promise<void> {
  const node = await findNode(host, nodeOf(options))
  const shown = await node.json<Shown>(PATH)
  const text = options.json ? `${JSON.stringify(shown)}\n` : format(shown, await namesOf(node))
  host.stdout.write(text)
}

async function set(host: CommandHost, file: string, options: Options): Promise<void> {
  const written = await read(host, file)
  const node = await findNode(host, nodeOf(options))
  const names = await namesOf(node)
  const ifVersion = options.ifVersion ?? (await node.json<Shown>(PATH)).record?.version ?? 0
  const json = { policy: withPeerIds(written, names), ifVersion }
  const shown = await node.json<Shown>(PATH, { method: 'PUT', json })
  host.stdout.write(options.json ? `${JSON.stringify(shown)}\n` : format(shown, names))
}

async function read(host: CommandHost, file: string): Promise<z.infer<typeof namesSchema>> {
  const bytes = file === '-' ? await buffer(host.stdin) : await readFile(file)
  try {
    return namesSchema.parse(JSON.parse(bytes.toString('utf8')))
  } catch (error) {
    throw new InvalidRequestError(
      'The policy is no JSON of the form {"rules": [{"project", "agent", "authors"}]}.',
      { cause: error },
    )
  }
}

/** Names by peer id. */
async function namesOf(node: NodeClient): Promise<Map<string, string>> {
  const { nodes } = await node.json<{ nodes: { peerId: string; name: string }[] }>('/v1/nodes')
  return new Map(nodes.map(({ peerId, name }) => [peerId, name]))
}

/** People write names; a name says nothing about who signs, so the policy has peer ids. */
function withPeerIds(policy: z.infer<typeof namesSchema>, names: Map<string, string>): object {
  const peerIdOf = (text: string): string => {
    const [found, second] = [...names].filter(([, name]) => name === text)
    if (second) throw new InvalidRequestError(`Several nodes are called ${text}.`)
    return found?.[0] ?? text
  }
  const { rules, editors, ...rest } = policy
  return {
    ...rest,
    rules: rules.map((rule) => ({ ...rule, authors: rule.authors.map(peerIdOf) })),
    ...(editors && { editors: editors.map(peerIdOf) }),
  }
}

function format({ record, policy }: Shown, names: Map<string, string>): string {
  if (!record) return 'There is no policy: every node may write every address.\n'
  const nodesOf = (peerIds: readonly string[]): string =>
    peerIds.map((peerId) => names.get(peerId) ?? shortPeerId(peerId)).join(', ')
  const rows = policy.rules.map(({ project, agent, authors }) => [
    project,
    agent ?? '*',
    nodesOf(authors),
  ])
  const editors = policy.editors ? nodesOf(policy.editors) : 'every node'
  const foot = `version ${record.version}, written ${record.timestamp}; next one by: ${editors}\n`
  return formatTable(['project', 'agent', 'written by'], rows) + foot
}

function nodeOf({ data, node }: Options): { data?: string; node?: string } {
  return { ...(data !== undefined && { data }), ...(node !== undefined && { node }) }
}
