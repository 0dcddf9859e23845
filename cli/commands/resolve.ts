import type { Command } from 'commander'

import { PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../shared/limits.ts'
import type { RecordJSON } from '../../shared/record/record.ts'
import { findConnection } from '../client/connection.ts'
import { ResolveClient, type History } from '../client/resolve-client.ts'
import type { CommandHost } from '../host.ts'
import { formatBytes, shortPeerId } from '../output/format.ts'
import { formatPairs, formatTable } from '../output/table.ts'
import { integer } from './integer.ts'

interface Options {
  history?: boolean
  before?: number
  limit: number
  json?: boolean
  data?: string
}

export function resolveCommand(program: Command, host: CommandHost): void {
  program
    .command('resolve')
    .description('show what an address points at, without its content')
    .argument('<address>', 'such as bzzz://reviewer@apollo/plan.md')
    .option('--history', 'all versions, the newest first')
    .option(
      '--limit <n>',
      'versions to show at most',
      (text) => integer(text, 1, PAGE_SIZE_MAX),
      PAGE_SIZE_DEFAULT,
    )
    .option('--before <version>', 'only versions before this one', (text) => integer(text, 1))
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of a local cluster')
    .action((address: string, options: Options) => resolve(host, address, options))
}

async function resolve(host: CommandHost, address: string, options: Options): Promise<void> {
  const { resolveURL, token } = await findConnection(host, options.data)
  const client = new ResolveClient({ url: resolveURL, token })
  if (options.history) {
    const page = {
      limit: options.limit,
      ...(options.before !== undefined && { before: options.before }),
    }
    const history = await client.history(address, page, host.signal)
    host.stdout.write(options.json ? `${JSON.stringify(history)}\n` : formatHistory(history))
    return
  }
  const record = await client.record(address, host.signal)
  host.stdout.write(options.json ? `${JSON.stringify(record)}\n` : formatRecord(record))
}

function formatRecord(record: RecordJSON & { forks: number }): string {
  return formatPairs([
    ['address', record.address],
    ['version', String(record.version)],
    ['content', `bzzz://b3/${record.hash}`],
    ['size', formatBytes(record.size)],
    ['type', record.mediaType],
    ['written', record.timestamp],
    ['by', record.author],
    ['record', record.record],
    ...(record.forks > 0 ? [['forks', String(record.forks)] as const] : []),
  ])
}

function formatHistory({ records, next }: History): string {
  const table = formatTable(
    ['version', 'written', 'size', 'type', 'by', 'content'],
    records.map((record) => [
      String(record.version),
      record.timestamp,
      formatBytes(record.size),
      record.mediaType,
      shortPeerId(record.author),
      record.hash,
    ]),
  )
  return next === null ? table : `${table}more: --before ${next}\n`
}
