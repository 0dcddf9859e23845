import type { Command } from 'commander'

import { findNode } from '../client/node-client.ts'
import type { CommandHost } from '../host.ts'
import { formatBytes } from '../output/format.ts'
import { formatPairs } from '../output/table.ts'
import { followPass } from './pass.ts'

interface Options {
  json?: boolean
  data?: string
  node?: string
  status?: boolean
  cancel?: boolean
}

/** What is used of `GET /v1/scrub`. */
interface Scrub {
  state: 'idle' | 'running' | 'done' | 'cancelled'
  checked?: number
  total?: number
  bytes?: number
  bad?: number
  failed?: number
  lastSuccessAt: string | null
}

/** `bzzz scrub`: read every blob of a node again now. */
export function scrubCommand(program: Command, host: CommandHost): void {
  program
    .command('scrub')
    .description('read every blob of a node again and repair what is bad')
    .option('--status', 'only show how far it is')
    .option('--cancel', 'go on at the usual pace')
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of a local cluster')
    .option('--node <name>', 'scrub this node (default: the first that answers)')
    .action((options: Options) => scrub(host, options))
}

async function scrub(host: CommandHost, options: Options): Promise<void> {
  const node = await findNode(host, options)
  const method = options.cancel ? 'DELETE' : options.status ? 'GET' : 'POST'
  let state = await node.json<Scrub>('/v1/scrub', { method })
  if (method === 'POST') {
    state = await followPass<Scrub>(host, node, {
      path: '/v1/scrub',
      label: 'scrub',
      progressOf: ({ state: now, checked = 0, total = 0 }) => ({
        done: checked,
        total,
        running: now === 'running',
      }),
    })
  }
  host.stdout.write(options.json ? `${JSON.stringify(state)}\n` : describe(state))
}

function describe(scrub: Scrub): string {
  return formatPairs([
    ['state', scrub.state],
    ['checked', `${scrub.checked ?? 0} of ${scrub.total ?? 0} blobs`],
    ['read', formatBytes(scrub.bytes ?? 0)],
    ['bad', String(scrub.bad ?? 0)],
    ['unread', String(scrub.failed ?? 0)],
    ['last whole', scrub.lastSuccessAt ?? 'never'],
  ])
}
