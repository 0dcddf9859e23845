import type { ImportJSON } from '../client/migrate-client.ts'
import { formatPairs, formatTable } from '../output/table.ts'

/** One import, for people. */
export function describeImport(one: ImportJSON): string {
  const rows: [string, string | null][] = [
    ['import', one.id],
    ['state', one.state],
    ['entries', `${one.entries.done} of ${one.entries.total}`],
    ['verified', `${one.entries.verified} of ${one.entries.total}`],
    ['threads', `${one.threads.done} of ${one.threads.total}`],
    ['set aside', `${one.quarantined.records} records`],
    ['begun', `${one.createdAt} by ${one.createdBy}`],
    ['finished', one.finishedAt],
    ['report', one.reportAddress],
    ['problem', one.problem],
  ]
  return formatPairs(rows.filter((row): row is [string, string] => row[1] !== null))
}

export function describeImports(imports: readonly ImportJSON[]): string {
  if (imports.length === 0) return 'There are no imports.\n'
  const rows = imports.map((one) => [
    one.id,
    one.problem === null ? one.state : 'stopped',
    `${one.entries.done}/${one.entries.total}`,
    `${one.entries.verified}`,
    `${one.threads.done}/${one.threads.total}`,
    String(one.quarantined.records),
    one.createdAt,
  ])
  return formatTable(
    ['import', 'state', 'entries', 'verified', 'threads', 'set aside', 'begun'],
    rows,
  )
}
