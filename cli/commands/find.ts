import type { Command } from 'commander'

import { PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../shared/limits.ts'
import type { RecordJSON } from '../../shared/record/record.ts'
import { findNode } from '../client/node-client.ts'
import type { CommandHost } from '../host.ts'
import { formatBytes, shortPeerId } from '../output/format.ts'
import { formatTable } from '../output/table.ts'
import { integer } from './integer.ts'

interface Options {
  after?: string
  limit: number
  json?: boolean
  data?: string
}

interface Found {
  records: RecordJSON[]
  next: string | null
  partial: boolean
}

const EVERYTHING = 'bzzz://*:*@*:*/'

/** `bzzz ls`: which addresses there are. */
export function findCommand(program: Command, host: CommandHost): void {
  program
    .command('ls')
    .alias('find')
    .description('list addresses, by agent, role, project, task and path')
    .argument('[search]', 'such as bzzz://*@apollo/plans/**; * stands for any', EVERYTHING)
    .option(
      '--limit <n>',
      'addresses to show at most',
      (text) => integer(text, 1, PAGE_SIZE_MAX),
      PAGE_SIZE_DEFAULT,
    )
    .option('--after <address>', 'go on behind this one')
    .option('--json', 'print JSON')
    .option('--data <dir>', 'data folder of a local cluster')
    .action((search: string, options: Options) => find(host, search, options))
}

async function find(host: CommandHost, pattern: string, options: Options): Promise<void> {
  const node = await findNode(host, options.data === undefined ? {} : { data: options.data })
  const found: Found = { records: [], next: options.after ?? '', partial: false }
  // A node answers with a page of its own size; what was asked for may take several.
  while (found.next !== null && found.records.length < options.limit) {
    const limit = options.limit - found.records.length
    const query = new URLSearchParams({ pattern, after: found.next, limit: String(limit) })
    const page = await node.json<Found>(`/v1/search?${query}`)
    found.records.push(...page.records)
    found.next = page.next
    found.partial ||= page.partial
  }
  if (options.json) {
    host.stdout.write(`${JSON.stringify(found)}\n`)
    return
  }
  host.stdout.write(format(found))
  if (found.partial) host.stderr.write('Nodes are away: some addresses may be missing.\n')
}

function format({ records, next }: Found): string {
  if (records.length === 0) return 'There are no such addresses.\n'
  const rows = records.map(({ address, version, size, mediaType, timestamp, author }) => [
    address,
    String(version),
    formatBytes(size),
    mediaType,
    timestamp,
    shortPeerId(author),
  ])
  const table = formatTable(['address', 'version', 'size', 'type', 'written', 'by'], rows)
  return next === null ? table : `${table}more: --after ${next}\n`
}
