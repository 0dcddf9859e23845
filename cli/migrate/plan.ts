import { LogBrokenError } from '../../shared/errors.ts'
import { ImportReader } from '../../shared/v1/import-reader.ts'
import type { ImportCounts } from '../../shared/v1/import-summary.ts'
import { withLogs } from '../../shared/v1/log-source.ts'
import type { CommandHost } from '../host.ts'
import { formatPairs, formatTable } from '../output/table.ts'
import { createEntriesBar } from './entries-bar.ts'
import { readHosts } from './hosts.ts'

export interface PlanOptions {
  json?: boolean
  hosts?: string
  strict?: boolean
}

/** What an import would bring, without a node. @throws LogBrokenError with --strict */
export async function planImport(
  host: CommandHost,
  paths: readonly string[],
  options: PlanOptions,
): Promise<void> {
  const hostOf = await readHosts(options.hosts)
  const reader = new ImportReader()
  await withLogs(paths, async (sources) => {
    for (const source of sources) {
      const bar = createEntriesBar(host.stderr, source.path)
      try {
        for await (const _item of reader.read(source, host.signal)) {
          const { records, offset } = reader.summary
          bar.update(records, source.sizeBytes > 0 ? offset / source.sizeBytes : 0)
        }
      } finally {
        bar.stop()
      }
    }
  })
  const { counts } = reader.summary
  const authors = Object.keys(counts.byAuthor)
  const hosts = Object.fromEntries(authors.map((author) => [author, hostOf(author)]))
  host.stdout.write(
    options.json ? `${JSON.stringify({ ...counts, hosts })}\n` : describe(counts, hosts),
  )
  refuseProblems(counts, options)
}

/** With `--strict` whatever would be set aside stops everything. @throws LogBrokenError */
export function refuseProblems(counts: ImportCounts, { strict }: { strict?: boolean }): void {
  const bad = Object.entries({ ...counts.quarantined, ...counts.problems })
  if (!strict || bad.length === 0) return
  const list = bad.map(([reason, count]) => `${count} ${reason}`).join(', ')
  throw new LogBrokenError(`Not all of it is good: ${list}.`)
}

function describe(counts: ImportCounts, hosts: Record<string, string | null>): string {
  const sum = (some: Record<string, number>) => Object.values(some).reduce((a, b) => a + b, 0)
  const rows = counts.chains.map((chain) => [
    chain.file,
    chain.author ?? 'unreadable',
    (chain.author !== null && hosts[chain.author]) || '',
    String(chain.records),
    String(chain.entries),
    chain.headHash.slice(0, 12),
    chain.strict.ok ? '' : `${chain.strict.reason} at ${chain.strict.firstBadPosition}`,
  ])
  const head = ['file', 'author', 'host', 'records', 'good', 'head', 'first problem']
  const types = Object.entries(counts.byType).toSorted(([, a], [, b]) => b - a)
  const pairs: [string, string][] = [
    ['records', String(counts.records)],
    ['entries', String(counts.entries)],
    ['threads', String(Object.keys(counts.threads).length)],
    ['set aside', String(sum(counts.quarantined))],
    ...Object.entries(counts.quarantined).map(([reason, n]): [string, string] => [reason, `${n}`]),
    ...Object.entries(counts.problems).map(([reason, n]): [string, string] => [reason, `${n}`]),
  ]
  return [
    formatTable(head, rows),
    '\n',
    formatPairs(pairs),
    '\n',
    formatTable(
      ['type', 'entries'],
      types.map(([type, n]) => [oneLine(type), String(n)]),
    ),
  ].join('')
}

/** What a log says may hold anything; a terminal must not obey it. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}+/gu, ' ')
}
