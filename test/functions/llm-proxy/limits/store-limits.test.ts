import { afterEach, describe, expect, it } from 'vitest'

import type { CallEstimate } from '../../../../functions/llm-proxy/limits/limits.ts'
import { MemoryLimitStore } from '../../../../functions/llm-proxy/limits/memory-store.ts'
import { parseRules } from '../../../../functions/llm-proxy/limits/rules.ts'
import { StoreLimits } from '../../../../functions/llm-proxy/limits/store-limits.ts'
import { NO_USAGE } from '../../../../shared/llm/model-usage.ts'
import { toWireError } from '../../../../shared/http/wire-error.ts'
import { createSilentLogger } from '../../../../shared/log/log.ts'
import { Registry } from '../../../../shared/metrics/metrics.ts'

const scope = { tokenId: 't', subject: 's', project: 'apollo', agent: 'coder', model: 'm' }
const estimate: CallEstimate = { inputTokens: 10, outputTokensMax: 20, costNanoUsd: 100n }
const signal = new AbortController().signal

/** A store that is away while it is told so. */
class Fragile extends MemoryLimitStore {
  away = false
  /** Ids of what was settled, with claims and by itself. */
  readonly along: string[][] = []
  readonly settled: string[][] = []

  override reserve(...given: Parameters<MemoryLimitStore['reserve']>) {
    this.along.push((given[2] ?? []).map(({ id }) => id))
    return this.away ? Promise.reject(new Error('ECONNREFUSED')) : super.reserve(...given)
  }

  override settle(...given: Parameters<MemoryLimitStore['settle']>) {
    if (given[0].length > 0) this.settled.push(given[0].map(({ id }) => id))
    return this.away ? Promise.reject(new Error('ECONNREFUSED')) : super.settle(...given)
  }
}

const running: StoreLimits[] = []

async function start(
  rules: object[],
  init: { away?: number; ttlMs?: number; renewMs?: number; store?: Fragile } = {},
) {
  const { away = 0, store = new Fragile(), ...rest } = init
  const parsed = parseRules(JSON.stringify({ rules }))
  const registry = new Registry()
  const limits = new StoreLimits(
    { store, rules: () => parsed, log: createSilentLogger(), registry },
    { awayRequestsPerMinute: away, ...rest },
  )
  await limits.start()
  running.push(limits)
  return { limits, store, registry }
}

describe('store-limits', () => {
  afterEach(async () => {
    await Promise.all(running.splice(0).map((limits) => limits.stop()))
  })

  it('tells how far the narrowest rules are used up', async () => {
    const { limits } = await start([
      { name: 'wide', per: 'cluster', requestsPerMinute: 100, tokensPerMinute: 50 },
      { name: 'narrow', per: 'token', requestsPerMinute: 7, tokensPerMinute: 1_000 },
    ])
    const { headers } = await limits.reserve(scope, estimate, signal)
    expect(headers).toEqual({
      ...{ 'x-ratelimit-limit-requests': '7', 'x-ratelimit-remaining-requests': '6' },
      ...{ 'x-ratelimit-limit-tokens': '50', 'x-ratelimit-remaining-tokens': '20' },
      'x-ratelimit-reset-requests': expect.stringMatching(/^6[01]s$/),
      'x-ratelimit-reset-tokens': expect.stringMatching(/^6[01]s$/),
    })
  })

  it('asks nothing where no rule concerns the call', async () => {
    const { limits, store } = await start([
      { name: 'zeus', per: 'cluster', match: { project: 'zeus' }, requestsPerMinute: 1 },
    ])
    store.away = true
    expect((await limits.reserve(scope, estimate, signal)).headers).toEqual({})
  })

  it('answers 429 with seconds and headers, under one code for rates and one for money', async () => {
    const { limits } = await start([
      { name: 'rate', per: 'project', requestsPerMinute: 1 },
      { name: 'money', per: 'model', match: { model: 'dear' }, usdPerDay: 0 },
    ])
    await limits.reserve(scope, estimate, signal)
    const rate = await limits.reserve(scope, estimate, signal).catch((error: unknown) => error)
    expect(toWireError(rate, '')).toMatchObject({
      status: 429,
      headers: { 'x-ratelimit-remaining-requests': '0' },
      body: { error: { code: 'BZZZ_RATE_LIMIT_EXCEEDED' } },
    })
    expect(String(rate)).toContain('rate by project')
    const dear = { ...scope, project: 'zeus', model: 'dear' }
    const money = await limits.reserve(dear, estimate, signal).catch((error: unknown) => error)
    const wire = toWireError(money, '')
    expect(wire).toMatchObject({ status: 429, body: { error: { code: 'BZZZ_BUDGET_EXCEEDED' } } })
    const waitSeconds = Number(wire.headers['retry-after'])
    expect(waitSeconds).toBeGreaterThan(0)
    expect(waitSeconds).toBeLessThanOrEqual(86_400)
  })

  it('puts the real cost in place of the estimate, once', async () => {
    const { limits } = await start([{ name: 'm', per: 'cluster', usdPerMonth: 0.000_000_2 }])
    const reservation = await limits.reserve(scope, estimate, signal)
    reservation.settle(NO_USAGE, 150n)
    reservation.release()
    const ask = (costNanoUsd: bigint) =>
      limits.reserve(scope, { ...estimate, costNanoUsd }, signal).then(
        () => 'granted',
        (error: Error) => error.name,
      )
    await expect.poll(() => ask(51n)).toBe('BudgetExceededError')
    expect(await ask(50n)).toBe('granted')
  })

  it('settles what has ended with the next claim, and again where that was not answered', async () => {
    const { limits, store } = await start([{ name: 'one', per: 'cluster', concurrentRequests: 1 }])
    const first = await limits.reserve(scope, estimate, signal)
    first.settle(NO_USAGE, 900n)
    // Its place is free for whoever asks next here.
    const second = await limits.reserve(scope, estimate, signal)
    expect(store.along.map(({ length }) => length)).toEqual([0, 1])
    second.release()
    store.away = true
    await expect(limits.reserve(scope, estimate, signal)).rejects.toThrow('Limits cannot be')
    store.away = false
    const isFree = async (): Promise<boolean> =>
      limits.reserve(scope, estimate, signal).then(
        () => true,
        () => false,
      )
    await expect.poll(isFree, { timeout: 30_000 }).toBe(true)
    expect(new Set([...store.along, ...store.settled].flat()).size).toBe(2)
  })

  it('has nothing to settle where only requests are limited', async () => {
    const { limits, store } = await start([
      { name: 'rate', per: 'cluster', requestsPerMinute: 3 },
      { name: 'other', per: 'project', requestsPerMinute: 100 },
    ])
    for (let n = 0; n < 3; n += 1) {
      const reservation = await limits.reserve(scope, estimate, signal)
      expect(reservation.headers['x-ratelimit-remaining-requests']).toBe(String(2 - n))
      if (n === 0) reservation.settle(NO_USAGE, 5n)
      else reservation.release()
    }
    await expect(limits.reserve(scope, estimate, signal)).rejects.toThrow('Too many requests')
    await limits.stop()
    expect([...store.along, ...store.settled].flat()).toEqual([])
  })

  it('gives back what was reserved for a caller who has left', async () => {
    const { limits } = await start([{ name: 'one', per: 'cluster', concurrentRequests: 1 }])
    const left = new AbortController()
    const reserving = limits.reserve(scope, estimate, left.signal)
    left.abort(new Error('left'))
    await expect(reserving).rejects.toThrow('left')
    await expect
      .poll(() =>
        limits.reserve(scope, estimate, signal).then(
          () => true,
          () => false,
        ),
      )
      .toBe(true)
  })

  it('holds a long call for as long as it lasts, and no longer once its replica is gone', async () => {
    const store = new Fragile()
    const rules = [{ name: 'one', per: 'cluster', concurrentRequests: 1 }]
    const first = await start(rules, { store, ttlMs: 400, renewMs: 50 })
    const second = await start(rules, { store, ttlMs: 400, renewMs: 50 })
    await first.limits.reserve(scope, estimate, signal)
    const refused = () =>
      second.limits.reserve(scope, estimate, signal).then(
        () => 'granted',
        (error: Error) => error.name,
      )
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(await refused()).toBe('RateLimitExceededError')
    // It renews no more: as if it were killed.
    await first.limits.stop()
    await expect.poll(refused, { timeout: 30_000 }).toBe('granted')
  })

  it('answers 503 while the store is away, and charges afterwards what went on meanwhile', async () => {
    const { limits, store } = await start([
      { name: 'money', per: 'cluster', usdPerMonth: 0.000_001 },
    ])
    const reservation = await limits.reserve(scope, estimate, signal)
    store.away = true
    const refused = await limits.reserve(scope, estimate, signal).catch((error: unknown) => error)
    expect(toWireError(refused, '')).toMatchObject({
      status: 503,
      body: { error: { code: 'BZZZ_LIMITS_UNAVAILABLE' } },
    })
    reservation.settle(NO_USAGE, 1_000n)
    await new Promise((resolve) => setTimeout(resolve, 100))
    store.away = false
    await expect
      .poll(() => limits.reserve(scope, estimate, signal).catch((error: Error) => error.name), {
        timeout: 30_000,
      })
      .toBe('BudgetExceededError')
  })

  it('lets so many through uncounted while the store is away, where it is told to', async () => {
    const { limits, store, registry } = await start(
      [{ name: 'money', per: 'cluster', usdPerMonth: 0.000_001 }],
      { away: 2 },
    )
    store.away = true
    const ask = () => limits.reserve(scope, estimate, signal)
    const passed = await ask()
    await ask()
    await expect(ask()).rejects.toMatchObject({ code: 'BZZZ_LIMITS_UNAVAILABLE' })
    const metric = await registry.getSingleMetricAsString('bzzz_llm_limit_store_away_total')
    expect(metric).toContain('{outcome="admitted"} 2')
    passed.settle(NO_USAGE, 1_000n)
    store.away = false
    await expect
      .poll(() => ask().catch((error: Error) => error.name), { timeout: 30_000 })
      .toBe('BudgetExceededError')
  })
})
