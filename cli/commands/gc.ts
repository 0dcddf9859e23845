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
  dryRun?: boolean
  status?: boolean
  cancel?: boolean
}

/** What is used of `GET /v1/gc`. */
interface Collection {
  state: 'idle' | 'running' | 'ended'
  outcome?: string | null
  reason?: string | null
  dryRun?: boolean
  roots?: number
  checked?: number
  unreferenced?: number
  unreferencedBytes?: number
  candidates?: number
  bytes?: number
  deleted?: number
  deletedBytes?: number
  examples?: { hash: string; size: number }[]
}

/** `bzzz gc`: delete what nothing refers to any more. */
export function gcCommand(program: Command, host: CommandHost): void {
  program
    .command('gc')
    .description('delete the blobs of a node that nothing refers to')
    .option('--dry-run', 'say what would be deleted and delete nothing')
    .option('--status', 'only show how far it is')
    .option('--cancel', 'end the one that runs')
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of a local cluster')
    .option('--node <name>', 'collect on this node (default: the first that answers)')
    .action((options: Options) => gc(host, options))
}

async function gc(host: CommandHost, options: Options): Promise<void> {
  const node = await findNode(host, options)
  const dryRun = options.dryRun ?? false
  let state: Collection
  if (options.status || options.cancel) {
    state = await node.json('/v1/gc', { method: options.cancel ? 'DELETE' : 'GET' })
  } else {
    state = await node.json('/v1/gc', { method: 'POST', json: { dryRun } })
    // A dry run is answered at its end, a real one at its start.
    if (!dryRun) {
      state = await followPass<Collection>(host, node, {
        path: '/v1/gc',
        label: 'gc',
        progressOf: ({ state: now, checked = 0 }) => ({
          done: checked,
          total: null,
          running: now === 'running',
        }),
      })
    }
  }
  host.stdout.write(options.json ? `${JSON.stringify(state)}\n` : describe(state))
}

function describe(collection: Collection): string {
  if (collection.state === 'idle') return 'Nothing was collected since the node started.\n'
  const { outcome, reason, examples = [] } = collection
  const amount = (blobs = 0, bytes = 0): string => `${blobs} blobs, ${formatBytes(bytes)}`
  const pairs = formatPairs([
    ['state', [collection.state, outcome].filter(Boolean).join(', ')],
    ...(reason ? [['reason', reason] as const] : []),
    ['roots', String(collection.roots ?? 0)],
    ['checked', `${collection.checked ?? 0} blobs`],
    ['unreferenced', amount(collection.unreferenced, collection.unreferencedBytes)],
    ['past grace', amount(collection.candidates, collection.bytes)],
    ['deleted', amount(collection.deleted, collection.deletedBytes)],
  ])
  if (!collection.dryRun || examples.length === 0) return pairs
  const lines = examples.map(({ hash, size }) => `  ${hash}  ${formatBytes(size)}\n`)
  return `${pairs}would go first\n${lines.join('')}`
}
