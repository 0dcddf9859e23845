/** What a rule allows; absent: as much as there is. */
export interface Bounds {
  requestsPerMinute?: number
  tokensPerMinute?: number
  concurrentRequests?: number
  nanoUsdPerDay?: bigint
  nanoUsdPerMonth?: bigint
}

/** One rule as it concerns one caller: what is counted together under one key. */
export interface Share {
  key: string
  bounds: Bounds
}

export interface Claim {
  id: string
  shares: readonly Share[]
  tokens: number
  nanoUsd: bigint
  /** It counts as a request and as tokens, and is done: no place, no money, never settled. */
  isFinal?: boolean
}

export const BOUND_KINDS = ['requests', 'tokens', 'concurrent', 'day', 'month'] as const
export type BoundKind = (typeof BOUND_KINDS)[number]

/** How far a share is used up, this claim included where it was granted. */
export interface ShareUse {
  requests: number
  tokens: number
  /** Until nothing is counted any more, if nothing comes. */
  resetMs: number
}

export interface Verdict {
  /** The bound that says no; the one that is in the way for the longest where there are several. */
  refusal: { share: number; kind: BoundKind; waitMs: number } | null
  /** In the order of the claim's shares. */
  uses: readonly ShareUse[]
}

/** How a claim ended. It knows the keys itself, in case the store has forgotten the claim. */
export interface Settlement {
  id: string
  keys: readonly string[]
  tokens: number
  nanoUsd: bigint
}

/**
 * Where the limits of all replicas are counted, by the store's own clock.
 *
 * Requests and tokens are counted in slices of a second, and a slice counts until it is a whole
 * minute old: within any 60 s there are never more than the limit, and what was used is free again
 * after 60 to 61 s. Days and months are those of UTC; money counts in the period in which its call
 * began. A claim is granted by all of its shares or taken from none of them.
 */
export interface LimitStore {
  /**
   * In order, so that a claim sees what those before it took; after `ended`, which is settled with
   * it or not at all.
   */
  reserve(
    claims: readonly Claim[],
    ttlMs: number,
    ended?: readonly Settlement[],
  ): Promise<Verdict[]>
  /**
   * Puts what was used in place of what was claimed. Fewer tokens are given back to their slice,
   * more are taken from the present one. A claim that has expired, or was never made here, is
   * charged in full; one that was settled before is left alone. Each id once in a batch, and no
   * claim together with its own end.
   */
  settle(settlements: readonly Settlement[]): Promise<void>
  renew(ids: readonly string[], ttlMs: number): Promise<void>
  /** Forgets what is too old to matter. */
  prune(): Promise<void>
  /** Throws when the store does not answer. */
  ping(): Promise<void>
  close(): Promise<void>
}

/** UTC, counted from the epoch. */
export function dayOf(nowMs: number): number {
  return Math.floor(nowMs / 86_400_000)
}

export function monthOf(nowMs: number): number {
  const date = new Date(nowMs)
  return date.getUTCFullYear() * 12 + date.getUTCMonth()
}

/** When the day or the month of `nowMs` ends. */
export function periodEndMs(kind: 'day' | 'month', nowMs: number): number {
  if (kind === 'day') return (dayOf(nowMs) + 1) * 86_400_000
  const month = monthOf(nowMs) + 1
  return Date.UTC(Math.floor(month / 12), month % 12)
}
