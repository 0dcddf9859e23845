import type { Command } from 'commander'

import { findNode } from '../client/node-client.ts'
import type { CommandHost } from '../host.ts'
import { formatUptime } from '../output/format.ts'
import { formatTable } from '../output/table.ts'

interface Options {
  json?: boolean
  data?: string
  capability?: string
  model?: string
  role?: string
  project?: string
  fresh?: boolean
}

/** What is used of `GET /v1/agents`. */
interface ListedAgent {
  agent: string
  role: string | null
  capabilities: { skills: string[]; models: string[]; tools: string[] }
  endpoint: string | null
  load: number
  node: { peerId: string; name: string | null }
  expiresInSeconds: number
}

interface Page {
  agents: ListedAgent[]
  next: string | null
}

/** The largest that a daemon gives at once. */
const PAGE_SIZE = 500

/** Of what an agent can do, this much is shown in a table; `--json` has all. */
const CAPABILITIES_CHARS_MAX = 48

/** `bzzz agents`: who works in the cluster, and what they can do. */
export function agentsCommand(program: Command, host: CommandHost): void {
  const agents = program
    .command('agents')
    .description('the agents of the cluster')
    // `bzzz agents` alone lists, so its options belong to `ls`.
    .enablePositionalOptions()
  agents
    .command('ls', { isDefault: true })
    .description('list the agents that are registered and alive')
    .option('--capability <name>', 'with this skill, model or tool')
    .option('--model <name>', 'with this model')
    .option('--role <role>', 'in this role')
    .option('--project <project>', 'of this project')
    .option('--fresh', 'ask the nodes anew instead of what was heard')
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of a local cluster')
    .action((options: Options) => list(host, options))
}

async function list(host: CommandHost, options: Options): Promise<void> {
  const { capability, model, role, project, fresh, data } = options
  const node = await findNode(host, data === undefined ? {} : { data })
  const filter = Object.entries({ capability, model, role, project }).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  )
  const agents: ListedAgent[] = []
  let after: string | null = ''
  while (after !== null) {
    const query = new URLSearchParams([...filter, ['limit', `${PAGE_SIZE}`], ['after', after]])
    // Asked once: the further pages are of the same answer.
    const headers: Record<string, string> =
      fresh && after === '' ? { 'cache-control': 'no-cache' } : {}
    const page: Page = await node.json(`/v1/agents?${query}`, { headers })
    agents.push(...page.agents)
    after = page.next
  }
  host.stdout.write(options.json ? `${JSON.stringify({ agents })}\n` : describe(agents))
}

function describe(agents: readonly ListedAgent[]): string {
  if (agents.length === 0) return 'No agent is registered that fits.\n'
  const head = ['agent', 'role', 'node', 'load', 'models', 'skills', 'tools', 'endpoint', 'ends in']
  return formatTable(
    head,
    agents.map(({ agent, role, node, load, capabilities, endpoint, expiresInSeconds }) => [
      agent,
      role ?? '-',
      node.name ?? '-',
      `${Math.round(load * 100)} %`,
      shortened(capabilities.models),
      shortened(capabilities.skills),
      shortened(capabilities.tools),
      endpoint ?? '-',
      formatUptime(expiresInSeconds),
    ]),
  )
}

function shortened(names: readonly string[]): string {
  const text = names.join(', ') || '-'
  if (text.length <= CAPABILITIES_CHARS_MAX) return text
  return `${text.slice(0, CAPABILITIES_CHARS_MAX - 1)}…`
}
