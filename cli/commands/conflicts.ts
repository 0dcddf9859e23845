import type { Command } from 'commander'

import { parseAddress, recordName } from '../../shared/address/address.ts'
import { checkLabel } from '../../shared/address/labels.ts'
import { InvalidAddressError } from '../../shared/errors.ts'
import type { RecordJSON } from '../../shared/record/record.ts'
import { findNode } from '../client/node-client.ts'
import type { CommandHost } from '../host.ts'
import { formatBytes, shortPeerId } from '../output/format.ts'
import { formatTable } from '../output/table.ts'
import { integer } from './integer.ts'
import { readPages, withPages, type PageOptions, type Pages } from './pages.ts'

interface Options extends PageOptions {
  project?: string
}

interface MergeOptions {
  pick: string
  ifVersion?: number
  json?: boolean
  data?: string
}

type Conflicts = Pages<'conflicts', { address: string; ends: RecordJSON[] }>

/** `bzzz conflicts`, `bzzz merge`: what a partition split, and how one version comes of it. */
export function conflictCommands(program: Command, host: CommandHost): void {
  withPages(
    program
      .command('conflicts')
      .description('list addresses that were written on both sides of a partition')
      .option('--project <name>', 'only of this project'),
  ).action((options: Options) => conflicts(host, options))
  program
    .command('merge')
    .description('make a new version of one side of a conflict; the others stay in the history')
    .argument('<address>', 'such as bzzz://reviewer@apollo/plan.md')
    .requiredOption('--pick <version>', 'a version, or 8 or more digits of a hash')
    .option('--if-version <n>', 'only while this version stands', (text) => integer(text, 1))
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of a local cluster')
    .action((address: string, options: MergeOptions) => merge(host, address, options))
}

async function conflicts(host: CommandHost, options: Options): Promise<void> {
  const node = await findNode(host, nodeOf(options))
  const project = options.project === undefined ? '*' : checkLabel('project', options.project)
  const pattern = `bzzz://*:*@${project}:*/`
  const asked = { path: '/v1/conflicts', key: 'conflicts', pattern } as const
  const found: Conflicts = await readPages(node, asked, options)
  if (options.json) {
    host.stdout.write(`${JSON.stringify(found)}\n`)
    return
  }
  host.stdout.write(format(found))
  if (found.partial) host.stderr.write('Nodes are away: some conflicts may be missing.\n')
}

function format({ conflicts: found, next }: Conflicts): string {
  if (found.length === 0) return 'There are no conflicts.\n'
  const rows = found.flatMap(({ address, ends }) =>
    ends.map(({ version, timestamp, size, author, record }, index) => [
      index === 0 ? address : '',
      String(version),
      timestamp,
      formatBytes(size),
      shortPeerId(author),
      record.slice(0, 12),
      index === 0 ? 'stands' : '',
    ]),
  )
  const head = ['address', 'version', 'written', 'size', 'by', 'pick', '']
  const table = formatTable(head, rows)
  return next === null ? table : `${table}more: --after ${next}\n`
}

async function merge(host: CommandHost, address: string, options: MergeOptions): Promise<void> {
  const target = parseAddress(address)
  if (target.kind === 'content') throw new InvalidAddressError('Content has no versions.')
  const node = await findNode(host, nodeOf(options))
  const query = new URLSearchParams({ address: recordName(target) })
  const { pick, ifVersion } = options
  const answer = await node.json<{ record: RecordJSON; holders: string[] }>(`/v1/merges?${query}`, {
    method: 'POST',
    json: { pick, ...(ifVersion !== undefined && { ifVersion }) },
  })
  const { version, hash } = answer.record
  const text = `${answer.record.address}\n  version  ${version}\n  content  bzzz://b3/${hash}\n`
  host.stdout.write(options.json ? `${JSON.stringify(answer)}\n` : text)
}

function nodeOf({ data }: { data?: string }): { data?: string } {
  return data === undefined ? {} : { data }
}
