import { LogBrokenError } from '../../shared/errors.ts'
import {
  unmetBy,
  verifyLog,
  type ChainReport,
  type Expectation,
} from '../../shared/v1/chain-report.ts'
import { withLogs, type LogSource } from '../../shared/v1/log-source.ts'
import type { CommandHost } from '../host.ts'
import { formatTable } from '../output/table.ts'
import { createEntriesBar } from './entries-bar.ts'

export interface VerifyOptions {
  json?: boolean
  trustedHead: readonly string[]
  expectLength?: number
}

/** Reads every log to its end. Needs no node. @throws LogBrokenError unless all of it holds */
export async function verifyLogs(
  host: CommandHost,
  paths: readonly string[],
  options: VerifyOptions,
): Promise<void> {
  const expected = { trustedHeads: options.trustedHead, length: options.expectLength ?? null }
  const reports: ChainReport[] = []
  await withLogs(paths, async (sources) => {
    for (const source of sources) {
      for (const report of await verifyOne(host, source, expected)) {
        reports.push(report)
        if (options.json) host.stdout.write(`${JSON.stringify(report)}\n`)
      }
    }
  })
  if (!options.json) host.stdout.write(describe(reports))
  const unmet = unmetBy(reports, expected)
  if (unmet !== null) throw new LogBrokenError(unmet)
}

async function verifyOne(
  host: CommandHost,
  source: LogSource,
  expected: Expectation,
): Promise<ChainReport[]> {
  const bar = createEntriesBar(host.stderr, source.path)
  let entries = 0
  try {
    return await verifyLog(source, expected, host.signal, (batch) => {
      entries += batch.length
      const { offset = 0 } = batch.at(-1)?.raw ?? {}
      bar.update(entries, source.sizeBytes > 0 ? offset / source.sizeBytes : 0)
    })
  } finally {
    bar.stop()
  }
}

function describe(reports: readonly ChainReport[]): string {
  if (reports.length === 0) return 'There are no entries.\n'
  const rule = ({ ok, firstBadPosition, reason }: ChainReport['v1']) =>
    ok ? 'holds' : `${reason} at ${firstBadPosition}`
  const outside = (one: boolean | null) => (one === null ? '' : one ? 'as expected' : 'DIFFERENT')
  const rows = reports.map((report) => [
    report.file,
    report.author ?? 'unreadable',
    String(report.entries),
    report.headHash.slice(0, 12),
    rule(report.v1),
    rule(report.strict),
    outside(report.trustedHead),
    outside(report.expectedLength),
    describeTree(report.tree),
  ])
  const head = ['file', 'author', 'entries', 'head', 'v1 rule', 'strict rule', 'trusted', 'length']
  head.push('signed tree')
  return formatTable(head, rows)
}

function describeTree(tree: ChainReport['tree']): string {
  if (!tree) return ''
  const { ok, missing, tampered, signature } = tree
  if (ok) return 'holds'
  const problems = [
    missing.length > 0 ? `${missing.length} blocks missing` : '',
    tampered.length > 0 ? `${tampered.length} blocks tampered with` : '',
    signature ? '' : 'no signature of the key',
  ]
  return problems.filter((problem) => problem !== '').join(', ')
}
