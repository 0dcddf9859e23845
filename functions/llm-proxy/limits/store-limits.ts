import { randomUUID } from 'node:crypto'

import {
  BudgetExceededError,
  LimitsUnavailableError,
  RateLimitExceededError,
} from '../../../shared/errors.ts'
import { startAll, stopAll } from '../../../shared/lifecycle.ts'
import type { Logger } from '../../../shared/log/log.ts'
import { Counter, type Registry } from '../../../shared/metrics/metrics.ts'
import { totalTokens, type ModelUsage } from '../../../shared/llm/model-usage.ts'
import { Batcher } from './batcher.ts'
import {
  AWAY_PAUSE_MS,
  PRUNE_MS,
  RENEW_BATCH_MAX,
  RENEW_MS,
  RESERVATION_TTL_MS,
  STORE_BATCH_MAX,
  STORE_PENDING_MAX,
  STORE_REST_MS_MAX,
} from './constants.ts'
import { limitHeaders } from './headers.ts'
import type { BoundKind, Bounds, Claim, LimitStore, Settlement, Verdict } from './limit-store.ts'
import type { CallEstimate, CallScope, Limits, Reservation } from './limits.ts'
import { MemoryLimitStore } from './memory-store.ts'
import { describeRule, sharesOf, type Rule, type RuleShare } from './rules.ts'
import { Settlements } from './settlements.ts'

export interface StoreLimitsComponents {
  store: LimitStore
  /** As they stand now. */
  rules: () => readonly Rule[]
  log: Logger
  registry: Registry
}

export interface StoreLimitsInit {
  /**
   * While the store is away, each replica lets so many calls a minute through, whatever the rules;
   * 0 refuses them. They are charged once it is back.
   */
  awayRequestsPerMinute: number
  ttlMs?: number
  renewMs?: number
}

const NOTHING_RESERVED: Reservation = {
  headers: {},
  settle: () => undefined,
  release: () => undefined,
}

const AWAY_KEY = 'away'

/** Limits that are counted in one store for all replicas. */
export class StoreLimits implements Limits {
  readonly #components: StoreLimitsComponents
  readonly #init: StoreLimitsInit
  readonly #batcher: Batcher<Claim, Verdict>
  readonly #settlements: Settlements
  /** What is let through while the store is away. */
  readonly #local = new MemoryLimitStore()
  readonly #refused: Counter<'rule' | 'bound'>
  readonly #uncounted: Counter<'outcome'>
  readonly #open = new Set<string>()
  #timer: NodeJS.Timeout | undefined
  #prunedMs = Number.NEGATIVE_INFINITY
  #renewing: Promise<void> = Promise.resolve()
  #awayUntilMs = 0

  constructor(components: StoreLimitsComponents, init: StoreLimitsInit) {
    const { store, registry } = components
    this.#components = components
    this.#init = init
    const ttlMs = init.ttlMs ?? RESERVATION_TTL_MS
    this.#batcher = new Batcher({
      run: (claims) => this.#settlements.along((ended) => store.reserve(claims, ttlMs, ended)),
      batchMax: STORE_BATCH_MAX,
      pendingMax: STORE_PENDING_MAX,
      restMsMax: STORE_REST_MS_MAX,
    })
    this.#settlements = new Settlements(components)
    this.#refused = new Counter({
      name: 'bzzz_llm_limit_refusals_total',
      help: 'Model calls refused by a rule, by what of it is used up',
      labelNames: ['rule', 'bound'],
      registers: [registry],
    })
    this.#uncounted = new Counter({
      name: 'bzzz_llm_limit_store_away_total',
      help: 'Model calls that came while the store of limits was away, and what became of them',
      labelNames: ['outcome'],
      registers: [registry],
    })
  }

  async start(): Promise<void> {
    if (this.#timer) return
    await startAll([this.#settlements])
    this.#timer ??= setInterval(() => {
      this.#renewing = this.#renewing.then(() => this.#renew())
    }, this.#init.renewMs ?? RENEW_MS)
    this.#timer.unref()
  }

  /** What is still open then expires. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#renewing
    await stopAll([this.#settlements])
  }

  async reserve(
    scope: CallScope,
    estimate: CallEstimate,
    signal: AbortSignal,
  ): Promise<Reservation> {
    const shares = sharesOf(this.#components.rules(), scope)
    if (shares.length === 0) return NOTHING_RESERVED
    const isFinal = shares.every(({ bounds }) => isRequestsOnly(bounds))
    const claim: Claim = {
      id: randomUUID(),
      shares,
      tokens: isFinal ? 0 : estimate.inputTokens + estimate.outputTokensMax,
      nanoUsd: estimate.costNanoUsd,
      isFinal,
    }
    const verdict = await this.#ask(claim)
    if (verdict === 'away') return this.#reserveLocally(claim)
    const headers = limitHeaders(shares, verdict.uses)
    if (verdict.refusal) throw this.#refusal(shares, verdict.refusal, headers)
    const reservation = this.#reservation(claim, headers)
    if (signal.aborted) {
      reservation.release()
      signal.throwIfAborted()
    }
    return reservation
  }

  /** A store that failed a moment ago is not waited for again. */
  async #ask(claim: Claim): Promise<Verdict | 'away'> {
    if (performance.now() < this.#awayUntilMs) return 'away'
    try {
      return await this.#batcher.ask(claim)
    } catch (error) {
      if (error instanceof Error && 'retryAfterSeconds' in error) throw error
      this.#noteAway(error)
      return 'away'
    }
  }

  #noteAway(error: unknown): void {
    this.#awayUntilMs = performance.now() + AWAY_PAUSE_MS
    this.#components.log.warn({ err: error }, 'the store of limits does not answer')
  }

  async #reserveLocally(claim: Claim): Promise<Reservation> {
    const bounds = { requestsPerMinute: this.#init.awayRequestsPerMinute }
    const local = { ...claim, shares: [{ key: AWAY_KEY, bounds }], tokens: 0, nanoUsd: 0n }
    const [verdict] = await this.#local.reserve([local], 0)
    const outcome = verdict?.refusal ? 'refused' : 'admitted'
    this.#uncounted.inc({ outcome })
    if (outcome === 'admitted') return this.#reservation(claim, {})
    throw new LimitsUnavailableError('Limits cannot be counted now; try again shortly.')
  }

  #reservation(claim: Claim, headers: Record<string, string>): Reservation {
    const { id, isFinal } = claim
    if (isFinal) return { ...NOTHING_RESERVED, headers }
    const keys = claim.shares.map(({ key }) => key)
    this.#open.add(id)
    const end = (used: Pick<Settlement, 'tokens' | 'nanoUsd'>): void => {
      // Only the first end counts.
      if (this.#open.delete(id)) this.#settlements.add({ id, keys, ...used })
    }
    return {
      headers,
      settle: (usage: ModelUsage, nanoUsd: bigint) => end({ tokens: totalTokens(usage), nanoUsd }),
      release: () => end({ tokens: 0, nanoUsd: 0n }),
    }
  }

  #refusal(
    shares: readonly RuleShare[],
    { share, kind, waitMs }: NonNullable<Verdict['refusal']>,
    headers: Record<string, string>,
  ): Error {
    const { rule } = shares[share]!
    this.#refused.inc({ rule: rule.name, bound: kind })
    const seconds = Math.max(Math.ceil(waitMs / 1000), 1)
    const message = `${SENTENCES[kind]} (${describeRule(rule)}); free in ${seconds} s.`
    if (kind !== 'day' && kind !== 'month') {
      return new RateLimitExceededError(message, seconds, headers)
    }
    // OpenAI's clients repeat a 429 unless they are told not to.
    return new BudgetExceededError(message, seconds, { ...headers, 'x-should-retry': 'false' })
  }

  async #renew(): Promise<void> {
    const ids = [...this.#open]
    try {
      if (performance.now() - this.#prunedMs > PRUNE_MS) {
        this.#prunedMs = performance.now()
        await this.#components.store.prune()
      }
      for (let from = 0; from < ids.length; from += RENEW_BATCH_MAX) {
        const batch = ids.slice(from, from + RENEW_BATCH_MAX)
        await this.#components.store.renew(batch, this.#init.ttlMs ?? RESERVATION_TTL_MS)
      }
    } catch (error) {
      this.#noteAway(error)
    }
  }
}

/** A request was made however it ends: of a rule for nothing else there is nothing to give back. */
function isRequestsOnly({ requestsPerMinute, ...others }: Bounds): boolean {
  return requestsPerMinute !== undefined && Object.keys(others).length === 0
}

const SENTENCES: Readonly<Record<BoundKind, string>> = {
  requests: 'Too many requests a minute',
  tokens: 'Too many tokens a minute',
  concurrent: 'Too many requests at once',
  day: 'The money of the day is spent',
  month: 'The money of the month is spent',
}
