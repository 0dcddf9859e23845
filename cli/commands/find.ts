import type { Command } from 'commander'

import type { RecordJSON } from '../../shared/record/record.ts'
import { findNode } from '../client/node-client.ts'
import type { CommandHost } from '../host.ts'
import { formatBytes, shortPeerId } from '../output/format.ts'
import { formatTable } from '../output/table.ts'
import { readPages, withPages, type PageOptions, type Pages } from './pages.ts'

type Found = Pages<'records', RecordJSON>

const EVERYTHING = 'bzzz://*:*@*:*/'

/** `bzzz ls`: which addresses there are. */
export function findCommand(program: Command, host: CommandHost): void {
  withPages(
    program
      .command('ls')
      .alias('find')
      .description('list addresses, by agent, role, project, task and path')
      .argument('[search]', 'such as bzzz://*@apollo/plans/**; * stands for any', EVERYTHING),
  ).action((search: string, options: PageOptions) => find(host, search, options))
}

async function find(host: CommandHost, pattern: string, options: PageOptions): Promise<void> {
  const node = await findNode(host, options.data === undefined ? {} : { data: options.data })
  const asked = { path: '/v1/search', key: 'records', pattern } as const
  const found: Found = await readPages(node, asked, options)
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
