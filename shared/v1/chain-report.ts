import type { Chain, RuleResult } from './chain.ts'

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
}

/** What v1's log can prove about itself, beside what only somebody outside can know. */
export function reportChain(file: string, chain: Chain, expected: Expectation): ChainReport {
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

/** Whether all that was asked for holds. */
export function holds({ v1, strict, trustedHead, expectedLength }: ChainReport): boolean {
  return v1.ok && strict.ok && trustedHead !== false && expectedLength !== false
}
