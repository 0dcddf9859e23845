import type { BoundKind, Bounds, ShareUse, Verdict } from './limit-store.ts'

/** What both servers answer: no refusal is share -1. */
export type EncodedVerdict = [
  refusal: [share: number, kind: BoundKind, waitMs: number],
  uses: number[][],
]

/** Budgets are far below the 2^53 nano-dollars up to which a double is exact. */
export function encodeBounds(bounds: Bounds): Record<string, number> {
  const { requestsPerMinute, tokensPerMinute, concurrentRequests } = bounds
  const { nanoUsdPerDay, nanoUsdPerMonth } = bounds
  return {
    ...(requestsPerMinute !== undefined && { rpm: requestsPerMinute }),
    ...(tokensPerMinute !== undefined && { tpm: tokensPerMinute }),
    ...(concurrentRequests !== undefined && { open: concurrentRequests }),
    ...(nanoUsdPerDay !== undefined && { day: Number(nanoUsdPerDay) }),
    ...(nanoUsdPerMonth !== undefined && { month: Number(nanoUsdPerMonth) }),
  }
}

export function decodeVerdict([[share, kind, waitMs], uses]: EncodedVerdict): Verdict {
  return {
    refusal: share < 0 ? null : { share, kind, waitMs },
    uses: uses.map(([requests = 0, tokens = 0, resetMs = 0]): ShareUse => ({
      requests,
      tokens,
      resetMs,
    })),
  }
}
