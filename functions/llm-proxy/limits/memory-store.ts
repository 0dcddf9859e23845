import {
  CONCURRENT_RETRY_MS,
  IDLE_STATE_KEPT_MS,
  SETTLED_KEPT_MS,
  SLICE_MS,
  STATE_KEPT_MS,
  WINDOW_SLICES,
} from './constants.ts'
import {
  dayOf,
  monthOf,
  periodEndMs,
  type Bounds,
  type BoundKind,
  type Claim,
  type LimitStore,
  type Settlement,
  type Verdict,
} from './limit-store.ts'

interface Slice {
  at: number
  requests: number
  tokens: number
}

interface Period {
  at: number
  spent: bigint
  held: bigint
}

/** What is counted under one key. */
interface State {
  /** The oldest first. */
  slices: Slice[]
  requests: number
  tokens: number
  open: number
  day: Period
  month: Period
}

interface Held {
  keys: readonly string[]
  tokens: number
  nanoUsd: bigint
  slice: number
  day: number
  month: number
  expiresMs: number
}

/** Limits of this process alone: exact while there is one replica. */
export class MemoryLimitStore implements LimitStore {
  readonly #now: () => number
  readonly #states = new Map<string, State>()
  /** In the order in which they were made or last renewed, which is that of their expiry. */
  readonly #held = new Map<string, Held>()
  /** When to forget that it was settled, the first to forget first. */
  readonly #settled = new Map<string, number>()

  constructor(init: { now?: () => number } = {}) {
    this.#now = init.now ?? Date.now
  }

  async reserve(
    claims: readonly Claim[],
    ttlMs: number,
    ended: readonly Settlement[] = [],
  ): Promise<Verdict[]> {
    await this.settle(ended)
    if (claims.length === 0) return []
    const nowMs = this.#now()
    this.#expire(nowMs)
    return claims.map((claim) => this.#reserve(claim, nowMs, ttlMs))
  }

  settle(settlements: readonly Settlement[]): Promise<void> {
    const nowMs = this.#now()
    for (const settlement of settlements) this.#settle(settlement, nowMs)
    return Promise.resolve()
  }

  renew(ids: readonly string[], ttlMs: number): Promise<void> {
    for (const id of ids) {
      const held = this.#held.get(id)
      if (!held) continue
      this.#held.delete(id)
      this.#held.set(id, { ...held, expiresMs: this.#now() + ttlMs })
    }
    return Promise.resolve()
  }

  prune(): Promise<void> {
    const nowMs = this.#now()
    for (const [key, { slices, open, month }] of this.#states) {
      const ageMs = nowMs - (slices.at(-1)?.at ?? 0) * SLICE_MS
      const isIdle = ageMs > IDLE_STATE_KEPT_MS && month.spent + month.held === 0n
      if (open === 0 && (isIdle || ageMs > STATE_KEPT_MS)) this.#states.delete(key)
    }
    return Promise.resolve()
  }

  ping(): Promise<void> {
    return Promise.resolve()
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #reserve(claim: Claim, nowMs: number, ttlMs: number): Verdict {
    const { id, shares, tokens, isFinal = false } = claim
    const nanoUsd = isFinal ? 0n : claim.nanoUsd
    const states = shares.map(({ key }) => this.#state(key, nowMs))
    const refusals = shares.flatMap(({ bounds }, share) =>
      refusalsOf(states[share]!, bounds, { tokens, nanoUsd, nowMs }).map((refusal) => ({
        share,
        ...refusal,
      })),
    )
    if (refusals.length === 0) {
      for (const state of states) take(state, { tokens, nanoUsd, nowMs }, isFinal)
      if (!isFinal)
        this.#held.set(id, {
          keys: shares.map(({ key }) => key),
          ...{ tokens, nanoUsd, slice: sliceOf(nowMs), day: dayOf(nowMs), month: monthOf(nowMs) },
          expiresMs: nowMs + ttlMs,
        })
    }
    const [refusal = null] = refusals.toSorted((left, right) => right.waitMs - left.waitMs)
    const uses = states.map(({ requests, tokens: used, slices }) => {
      const last = slices.at(-1)
      return { requests, tokens: used, resetMs: last ? freeAtMs(last.at) - nowMs : 0 }
    })
    return { refusal, uses }
  }

  #settle({ id, keys, tokens, nanoUsd }: Settlement, nowMs: number): void {
    if (this.#settled.has(id)) return
    const held = this.#held.get(id)
    const base = held ?? { tokens: 0, slice: 0, day: dayOf(nowMs), month: monthOf(nowMs) }
    for (const key of held?.keys ?? keys) {
      const state = this.#state(key, nowMs)
      addTokens(state, tokens - base.tokens, base.slice, nowMs)
      if (held) state.open -= 1
      for (const [period, at] of [
        [state.day, base.day],
        [state.month, base.month],
      ] as const) {
        if (period.at !== at) continue
        period.spent += nanoUsd
        if (held) period.held -= held.nanoUsd
      }
    }
    this.#held.delete(id)
    this.#settled.set(id, nowMs + SETTLED_KEPT_MS)
  }

  #state(key: string, nowMs: number): State {
    const none = (at: number): Period => ({ at, spent: 0n, held: 0n })
    const day = dayOf(nowMs)
    const month = monthOf(nowMs)
    let state = this.#states.get(key)
    if (!state) {
      state = { slices: [], requests: 0, tokens: 0, open: 0, day: none(day), month: none(month) }
      this.#states.set(key, state)
    }
    while (state.slices[0] && freeAtMs(state.slices[0].at) <= nowMs) {
      const gone = state.slices.shift()!
      state.requests -= gone.requests
      state.tokens -= gone.tokens
    }
    if (state.day.at !== day) state.day = none(day)
    if (state.month.at !== month) state.month = none(month)
    return state
  }

  #expire(nowMs: number): void {
    for (const [id, held] of this.#held) {
      if (held.expiresMs > nowMs) break
      this.#held.delete(id)
      this.#giveBack(held, nowMs)
    }
    for (const [id, untilMs] of this.#settled) {
      if (untilMs > nowMs) break
      this.#settled.delete(id)
    }
  }

  /** Its tokens stay counted until their minute is over: they may have been used. */
  #giveBack({ keys, nanoUsd, day, month }: Held, nowMs: number): void {
    for (const key of keys) {
      const state = this.#state(key, nowMs)
      state.open -= 1
      if (state.day.at === day) state.day.held -= nanoUsd
      if (state.month.at === month) state.month.held -= nanoUsd
    }
  }
}

interface Wanted {
  tokens: number
  nanoUsd: bigint
  nowMs: number
}

function sliceOf(nowMs: number): number {
  return Math.floor(nowMs / SLICE_MS)
}

/** When what was counted in this slice is no longer. */
function freeAtMs(slice: number): number {
  return (slice + WINDOW_SLICES + 1) * SLICE_MS
}

function take(state: State, { tokens, nanoUsd, nowMs }: Wanted, isFinal: boolean): void {
  const slice = currentSlice(state, nowMs)
  slice.requests += 1
  slice.tokens += tokens
  state.requests += 1
  state.tokens += tokens
  if (isFinal) return
  state.open += 1
  state.day.held += nanoUsd
  state.month.held += nanoUsd
}

function currentSlice(state: State, nowMs: number): Slice {
  const at = sliceOf(nowMs)
  const last = state.slices.at(-1)
  if (last && last.at >= at) return last
  const slice = { at, requests: 0, tokens: 0 }
  state.slices.push(slice)
  return slice
}

function addTokens(state: State, tokens: number, slice: number, nowMs: number): void {
  if (tokens === 0) return
  const target =
    tokens > 0 ? currentSlice(state, nowMs) : state.slices.find(({ at }) => at === slice)
  if (!target) return
  target.tokens += tokens
  state.tokens += tokens
}

function refusalsOf(
  state: State,
  bounds: Bounds,
  { tokens, nanoUsd, nowMs }: Wanted,
): { kind: BoundKind; waitMs: number }[] {
  const refusals: { kind: BoundKind; waitMs: number }[] = []
  for (const [kind, limit, wanted] of [
    ['requests', bounds.requestsPerMinute, 1],
    ['tokens', bounds.tokensPerMinute, tokens],
  ] as const) {
    const over = limit === undefined ? 0 : state[kind] + wanted - limit
    if (over > 0) refusals.push({ kind, waitMs: waitFor(state.slices, kind, over, nowMs) })
  }
  const { concurrentRequests = Number.POSITIVE_INFINITY } = bounds
  if (state.open >= concurrentRequests) {
    refusals.push({ kind: 'concurrent', waitMs: CONCURRENT_RETRY_MS })
  }
  for (const [kind, limit] of [
    ['day', bounds.nanoUsdPerDay],
    ['month', bounds.nanoUsdPerMonth],
  ] as const) {
    const { spent, held } = state[kind]
    const gone = limit !== undefined && (spent + held >= limit || spent + held + nanoUsd > limit)
    if (gone) refusals.push({ kind, waitMs: periodEndMs(kind, nowMs) - nowMs })
  }
  return refusals
}

/** Until so many are free; where the limit is below what is wanted, until all are. */
function waitFor(
  slices: readonly Slice[],
  kind: 'requests' | 'tokens',
  over: number,
  nowMs: number,
): number {
  let missing = over
  for (const slice of slices) {
    missing -= slice[kind]
    if (missing <= 0) return freeAtMs(slice.at) - nowMs
  }
  return freeAtMs(slices.at(-1)?.at ?? sliceOf(nowMs)) - nowMs
}
