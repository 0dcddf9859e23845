import { LogBrokenError } from '../../shared/errors.ts'
import {
  holds,
  reportChain,
  type ChainReport,
  type Expectation,
} from '../../shared/v1/chain-report.ts'
import { checkRecords, LogChecker } from '../../shared/v1/log-checker.ts'
import { findLogs, type LogSource } from '../../shared/v1/log-source.ts'
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
  for (const source of await findLogs(paths)) {
    for (const report of await verifyLog(host, source, expected)) {
      reports.push(report)
      if (options.json) host.stdout.write(`${JSON.stringify(report)}\n`)
    }
  }
  if (!options.json) host.stdout.write(describe(reports))
  const bad = reports.filter((report) => !holds(report)).length
  if (bad > 0) throw new LogBrokenError(`${bad} of ${reports.length} chains do not hold.`)
  if (reports.length === 0 && (options.expectLength ?? 0) > 0) {
    throw new LogBrokenError('There are no entries.')
  }
  const missing = expected.trustedHeads.find((head) =>
    reports.every(({ headHash }) => headHash !== head),
  )
  if (missing !== undefined) throw new LogBrokenError(`No chain ends with ${missing}.`)
}

async function verifyLog(
  host: CommandHost,
  source: LogSource,
  expected: Expectation,
): Promise<ChainReport[]> {
  const checker = new LogChecker()
  const bar = createEntriesBar(host.stderr, source.path)
  let entries = 0
  try {
    for await (const batch of checkRecords(source.read(host.signal), checker)) {
      entries += batch.length
      const { offset = 0 } = batch.at(-1)?.raw ?? {}
      bar.update(entries, offset / source.sizeBytes)
    }
  } finally {
    bar.stop()
  }
  return checker.chains.map((chain) => reportChain(source.path, chain, expected))
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
  ])
  const head = ['file', 'author', 'entries', 'head', 'v1 rule', 'strict rule', 'trusted', 'length']
  return formatTable(head, rows)
}
