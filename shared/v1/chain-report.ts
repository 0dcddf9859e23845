import { Chain, type RuleResult } from './chain.ts'
import type { TreeReport } from './core-log.ts'
import { checkRecords, LogChecker, type CheckedRecord } from './log-checker.ts'
import type { LogSource } from './log-source.ts'

/** What is known of a chain from elsewhere than its log. */
export interface Expectation {
  trustedHeads: readonly string[]
  length: number | null
}

/** One line of a verification. */
export interface ChainReport {
  file: string
  author: string | null
  entries: number
  genesisHash: string
  /** Of the last record, good or bad; empty when it cannot be read. */
  headHash: string
  v1: RuleResult
  strict: RuleResult
  /** Null where nothing was expected. */
  trustedHead: boolean | null
  expectedLength: boolean | null
  /** Of a hypercore. */
  tree?: TreeReport
}

/** Reads a log to its end. There is a report for a core without entries as well. */
export async function verifyLog(
  source: LogSource,
  expected: Expectation,
  signal: AbortSignal,
  onBatch: (batch: readonly CheckedRecord[]) => void = () => undefined,
): Promise<ChainReport[]> {
  const checker = new LogChecker()
  let tree: TreeReport | undefined
  const records = source.read(signal, (report) => (tree = report))
  for await (const batch of checkRecords(records, checker)) onBatch(batch)
  const empty = source.core === null ? [] : [new Chain(null)]
  const chains = checker.chains.length > 0 ? checker.chains : empty
  return chains.map((chain) => ({
    ...reportChain(source.path, chain, expected),
    ...(tree && { tree }),
  }))
}

/** What v1's log can prove about itself, beside what only somebody outside can know. */
function reportChain(file: string, chain: Chain, expected: Expectation): ChainReport {
  const { author, length, genesisHash, headHash, v1, strict } = chain
  return {
    file,
    author,
    entries: length,
    genesisHash,
    headHash,
    v1: { ...v1 },
    strict: { ...strict },
    trustedHead:
      expected.trustedHeads.length === 0 ? null : expected.trustedHeads.includes(headHash),
    expectedLength: expected.length === null ? null : expected.length === length,
  }
}

/** Why not all that was asked of several logs holds; null where it does. */
export function unmetBy(reports: readonly ChainReport[], expected: Expectation): string | null {
  const bad = reports.filter((report) => !holds(report)).length
  if (bad > 0) return `${bad} of ${reports.length} chains do not hold.`
  if (reports.length === 0 && (expected.length ?? 0) > 0) return 'There are no entries.'
  const heads = new Set(reports.map(({ headHash }) => headHash))
  const missing = expected.trustedHeads.find((head) => !heads.has(head))
  return missing === undefined ? null : `No chain ends with ${missing}.`
}

/** Whether all that was asked for holds. */
export function holds(report: ChainReport): boolean {
  const { v1, strict, trustedHead, expectedLength, tree } = report
  const outside = trustedHead !== false && expectedLength !== false
  return v1.ok && strict.ok && outside && tree?.ok !== false
}
