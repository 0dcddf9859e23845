import { randomUUID } from 'node:crypto'

import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import {
  periodEndMs,
  type Bounds,
  type Claim,
  type LimitStore,
  type Verdict,
} from '../../functions/llm-proxy/limits/limit-store.ts'
import { MemoryLimitStore } from '../../functions/llm-proxy/limits/memory-store.ts'

export interface LimitServer {
  /** A store of one replica; without a clock it goes by the server's. */
  create(init: { now?: () => number }): LimitStore
  stop(): Promise<void>
}

const TTL_MS = 60_000
const REPLICAS = 3
const CLAIMS = 300
const LIMIT = 100

/** A property runs this often, each time over a sequence of steps. */
const RUNS = 30

/** Every store of limits keeps to this. */
export function limitStoreSuite(start: () => Promise<LimitServer> | LimitServer): void {
  describe('limit store', () => {
    let server: LimitServer
    // Goes on from test to test: a store never sees its clock go back.
    let nowMs = Date.UTC(2031, 4, 14, 11, 59, 58, 250)
    let store: LimitStore
    let key = ''
    const opened: LimitStore[] = []

    beforeAll(async () => {
      server = await start()
      store = open()
    })
    beforeEach(() => {
      key = randomUUID()
    })
    afterAll(async () => {
      await Promise.all(opened.map((one) => one.close()))
      await server?.stop()
    })

    function open(init: { now?: () => number } = { now: () => nowMs }): LimitStore {
      const made = server.create(init)
      opened.push(made)
      return made
    }

    async function claim(
      bounds: Bounds,
      { tokens = 0, nanoUsd = 0n, id = randomUUID() as string, ttlMs = TTL_MS } = {},
    ): Promise<Verdict & { id: string }> {
      const shares = [{ key, bounds }]
      const [verdict] = await store.reserve([{ id, shares, tokens, nanoUsd }], ttlMs)
      return { ...verdict!, id }
    }

    const settle = (id: string, tokens: number, nanoUsd = 0n) =>
      store.settle([{ id, keys: [key], tokens, nanoUsd }])

    it('grants requests up to the limit and tells when there is room again', async () => {
      const bounds = { requestsPerMinute: 3 }
      const startMs = Math.ceil(nowMs / 1000) * 1000
      nowMs = startMs + 200
      expect((await claim(bounds)).uses).toEqual([{ requests: 1, tokens: 0, resetMs: 60_800 }])
      nowMs += 5_000
      await claim(bounds)
      expect((await claim(bounds)).refusal).toBeNull()
      const refused = await claim(bounds)
      expect(refused.refusal).toEqual({ share: 0, kind: 'requests', waitMs: 55_800 })
      expect(refused.uses[0]).toEqual({ requests: 3, tokens: 0, resetMs: 60_800 })
      nowMs = startMs + 60_999
      expect((await claim(bounds)).refusal?.waitMs).toBe(1)
      nowMs += 1
      expect((await claim(bounds)).refusal).toBeNull()
      expect((await claim(bounds)).refusal?.waitMs).toBe(5_000)
    })

    it('judges the claims of a batch one after the other', async () => {
      const shares = [{ key, bounds: { requestsPerMinute: 2, tokensPerMinute: 100 } }]
      const claims = [60, 60, 40, 1].map((tokens) => ({
        ...{ id: randomUUID(), shares, tokens },
        nanoUsd: 0n,
      }))
      const verdicts = await store.reserve(claims, TTL_MS)
      expect(verdicts.map(({ refusal }) => refusal?.kind ?? null)).toEqual([
        null,
        'tokens',
        null,
        'requests',
      ])
      expect(verdicts.map(({ uses }) => uses[0]?.tokens)).toEqual([60, 60, 100, 100])
    })

    it('takes from all rules or from none', async () => {
      const wide = { key: `${key}-wide`, bounds: { requestsPerMinute: 10, tokensPerMinute: 1000 } }
      const narrow = { key: `${key}-narrow`, bounds: { requestsPerMinute: 1 } }
      const ask = async (shares: (typeof wide | typeof narrow)[]) => {
        const id = randomUUID()
        const [verdict] = await store.reserve([{ id, shares, tokens: 7, nanoUsd: 5n }], TTL_MS)
        return verdict!
      }
      expect((await ask([wide, narrow])).refusal).toBeNull()
      expect((await ask([wide, narrow])).refusal).toMatchObject({ share: 1, kind: 'requests' })
      expect((await ask([wide])).uses).toMatchObject([{ requests: 2, tokens: 14 }])
    })

    it('puts the tokens that were used in place of those that were claimed', async () => {
      const bounds = { tokensPerMinute: 100 }
      const first = await claim(bounds, { tokens: 80 })
      expect((await claim(bounds, { tokens: 21 })).refusal?.kind).toBe('tokens')
      await settle(first.id, 30)
      const second = await claim(bounds, { tokens: 70 })
      expect(second).toMatchObject({ refusal: null, uses: [{ tokens: 100 }] })
      nowMs += 2_000
      // More than it claimed: that counts from now on.
      await settle(second.id, 90)
      expect((await claim(bounds, { tokens: 1 })).uses[0]?.tokens).toBe(120)
      nowMs += 59_000
      expect((await claim(bounds, { tokens: 80 })).refusal).toBeNull()
      expect((await claim(bounds, { tokens: 1 })).refusal?.kind).toBe('tokens')
    })

    it('lets so many calls run at once', async () => {
      const bounds = { concurrentRequests: 2 }
      const first = await claim(bounds)
      await claim(bounds)
      expect((await claim(bounds)).refusal).toEqual({ share: 0, kind: 'concurrent', waitMs: 1_000 })
      await settle(first.id, 0)
      expect((await claim(bounds)).refusal).toBeNull()
      expect((await claim(bounds)).refusal?.kind).toBe('concurrent')
    })

    it('keeps to the money of a day and of a month', async () => {
      // The last minute but one of a month.
      nowMs = periodEndMs('month', nowMs) - 100_000
      const bounds = { nanoUsdPerDay: 1_000n, nanoUsdPerMonth: 9_007_199_254_740_000n }
      const first = await claim(bounds, { nanoUsd: 600n })
      expect((await claim(bounds, { nanoUsd: 401n })).refusal).toEqual({
        ...{ share: 0, kind: 'day', waitMs: 100_000 },
      })
      await settle(first.id, 0, 100n)
      const second = await claim(bounds, { nanoUsd: 900n })
      expect(second.refusal).toBeNull()
      expect((await claim(bounds)).refusal?.kind).toBe('day')
      // What began yesterday is yesterday's.
      nowMs += 100_000
      await settle(second.id, 0, 5_000n)
      expect((await claim(bounds, { nanoUsd: 1_000n })).refusal).toBeNull()
    })

    it('adds up a month over its days, to the last nano-dollar', async () => {
      nowMs = periodEndMs('month', nowMs)
      const limit = 999_999_999_999_999n
      const bounds = { nanoUsdPerMonth: limit }
      const first = await claim(bounds, { nanoUsd: 1n })
      await settle(first.id, 0, limit - 2n)
      nowMs += 86_400_000
      const monthMs = periodEndMs('month', nowMs) - nowMs
      expect((await claim(bounds, { nanoUsd: 3n })).refusal).toEqual({
        ...{ share: 0, kind: 'month', waitMs: monthMs },
      })
      expect((await claim(bounds, { nanoUsd: 2n })).refusal).toBeNull()
      expect((await claim(bounds, { nanoUsd: 0n })).refusal?.kind).toBe('month')
    })

    it('gives back tokens, money and place of a failed call, and counts the request', async () => {
      const bounds = { requestsPerMinute: 2, tokensPerMinute: 50, nanoUsdPerDay: 10n }
      const all = { ...bounds, concurrentRequests: 1 }
      const { id } = await claim(all, { tokens: 50, nanoUsd: 10n })
      await settle(id, 0, 0n)
      const again = await claim(all, { tokens: 50, nanoUsd: 10n })
      expect(again).toMatchObject({ refusal: null, uses: [{ requests: 2, tokens: 50 }] })
    })

    it('frees what a dead replica held, and charges what comes late in full', async () => {
      const bounds = { concurrentRequests: 1, nanoUsdPerMonth: 100n }
      const dead = await claim(bounds, { nanoUsd: 90n })
      nowMs += TTL_MS - 1
      expect((await claim(bounds)).refusal?.kind).toBe('concurrent')
      nowMs += 1
      const next = await claim(bounds, { nanoUsd: 20n })
      expect(next.refusal).toBeNull()
      await settle(next.id, 0, 20n)
      // It was not dead after all.
      await settle(dead.id, 0, 75n)
      expect((await claim(bounds, { nanoUsd: 6n })).refusal?.kind).toBe('month')
      expect((await claim(bounds, { nanoUsd: 5n })).refusal).toBeNull()
    })

    it('holds what is renewed', async () => {
      const bounds = { concurrentRequests: 1 }
      const { id } = await claim(bounds)
      nowMs += TTL_MS - 1
      await store.renew([id, 'unknown'], TTL_MS)
      nowMs += TTL_MS - 1
      expect((await claim(bounds)).refusal?.kind).toBe('concurrent')
      nowMs += 1
      expect((await claim(bounds)).refusal).toBeNull()
    })

    it('counts a final claim as a request and tokens, and holds nothing for it', async () => {
      const bounds = { requestsPerMinute: 3, tokensPerMinute: 50, concurrentRequests: 1 }
      const all = { ...bounds, nanoUsdPerDay: 100n }
      const shares = [{ key, bounds: all }]
      const final = { shares, tokens: 20, nanoUsd: 100n, isFinal: true }
      const verdicts = await store.reserve(
        [
          { ...final, id: randomUUID() },
          { ...final, id: randomUUID() },
        ],
        TTL_MS,
      )
      expect(verdicts).toMatchObject([
        { refusal: null, uses: [{ requests: 1, tokens: 20 }] },
        { refusal: null, uses: [{ requests: 2, tokens: 40 }] },
      ])
      nowMs += TTL_MS / 2
      expect(await claim(all, { tokens: 10, nanoUsd: 100n })).toMatchObject({
        ...{ refusal: null, uses: [{ requests: 3, tokens: 50 }] },
      })
      nowMs += TTL_MS / 2 + 1_000
      // Those held nothing that could expire; the third still holds its place.
      expect((await claim(all)).refusal?.kind).toBe('day')
      expect((await claim(bounds)).refusal?.kind).toBe('concurrent')
    })

    it('settles what ended before it judges what comes with it, once', async () => {
      const bounds = { concurrentRequests: 1, tokensPerMinute: 50, nanoUsdPerDay: 100n }
      const shares = [{ key, bounds }]
      const first = await claim(bounds, { tokens: 40, nanoUsd: 60n })
      const next = { id: randomUUID(), shares, tokens: 45, nanoUsd: 60n }
      expect((await store.reserve([next], TTL_MS))[0]!.refusal).not.toBeNull()
      const ended = [{ id: first.id, keys: [key], tokens: 5, nanoUsd: 30n }]
      const [verdict] = await store.reserve([next], TTL_MS, ended)
      expect(verdict).toMatchObject({ refusal: null, uses: [{ requests: 2, tokens: 50 }] })
      // Its answer was lost, and it comes again: with others, by itself, with no claim at all.
      const other = { ...next, id: randomUUID(), tokens: 0, nanoUsd: 0n }
      const [refused] = await store.reserve([other], TTL_MS, ended)
      expect(refused!.refusal).toMatchObject({ kind: 'concurrent' })
      await store.settle(ended)
      await store.reserve([], TTL_MS, [
        { id: next.id, keys: [key], tokens: 45, nanoUsd: 70n },
        ...ended,
      ])
      expect((await claim(bounds)).refusal?.kind).toBe('day')
      expect((await claim({ ...bounds, nanoUsdPerDay: 101n })).uses).toMatchObject([
        { requests: 3, tokens: 50 },
      ])
    })

    it('settles a call once, whoever says it how often', async () => {
      const bounds = { concurrentRequests: 2, nanoUsdPerDay: 100n }
      const first = await claim(bounds, { nanoUsd: 10n })
      await claim(bounds, { nanoUsd: 10n })
      await settle(first.id, 0, 40n)
      const other = open()
      await other.settle([{ id: first.id, keys: [key], tokens: 0, nanoUsd: 40n }])
      const local = randomUUID()
      await settle(local, 0, 1n)
      await settle(local, 0, 1n)
      expect((await claim(bounds, { nanoUsd: 50n })).refusal?.kind).toBe('day')
      expect((await claim(bounds, { nanoUsd: 49n })).refusal).toBeNull()
      expect((await claim(bounds)).refusal?.kind).toBe('day')
    })

    it('forgets nothing that still counts', async () => {
      const bounds = { nanoUsdPerMonth: 10n }
      nowMs = periodEndMs('month', nowMs)
      const { id } = await claim(bounds, { nanoUsd: 10n })
      await settle(id, 0, 10n)
      nowMs = periodEndMs('month', nowMs) - 1
      await store.prune()
      expect((await claim(bounds)).refusal?.kind).toBe('month')
      const open = await claim({ concurrentRequests: 1 })
      await store.renew([open.id], 10 * TTL_MS)
      nowMs += 9 * TTL_MS
      await store.prune()
      expect((await claim({ concurrentRequests: 1 })).refusal?.kind).toBe('concurrent')
    })

    it('lets exactly as many through as the limit says, however many replicas ask', async () => {
      const replicas = Array.from({ length: REPLICAS }, () => open({}))
      const shares = [{ key, bounds: { requestsPerMinute: LIMIT } }]
      const asked = Array.from({ length: CLAIMS / 4 }, async (_, index) => {
        const claims = Array.from({ length: 4 }, () => ({
          ...{ id: randomUUID(), shares, tokens: 1, nanoUsd: 1n },
        }))
        return replicas[index % REPLICAS]!.reserve(claims, TTL_MS)
      })
      const verdicts = (await Promise.all(asked)).flat()
      expect(verdicts).toHaveLength(CLAIMS)
      expect(verdicts.filter(({ refusal }) => refusal === null)).toHaveLength(LIMIT)
    })

    it('decides as the model does, whatever comes', { timeout: 120_000 }, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
          const model = new MemoryLimitStore({ now: () => nowMs })
          const run = randomUUID()
          const open: Claim[] = []
          for (const one of steps) {
            nowMs += one.advanceMs
            const renewed = one.renew ? open.slice(-3).map(({ id }) => id) : []
            const ended = (one.settle ? open.splice(0, 2) : []).map(({ id, shares }) => ({
              ...{ id, keys: shares.map((share) => share.key), ...one.used },
            }))
            for (const each of [model, store]) {
              await each.renew(renewed, TTL_MS)
              if (!one.along) await each.settle(ended)
            }
            const along = one.along ? ended : []
            const claims = one.claims.map(({ shares, ...rest }) => ({
              id: randomUUID(),
              shares: shares.map((share) => ({
                key: `${run}-${KEYS[share]}`,
                bounds: BOUNDS[share]!,
              })),
              ...rest,
            }))
            const expected = await model.reserve(claims, TTL_MS, along)
            expect(await store.reserve(claims, TTL_MS, along)).toEqual(expected)
            open.push(...claims.filter((each, at) => !expected[at]!.refusal && !each.isFinal))
          }
        }),
        { numRuns: RUNS },
      )
    })
  })
}

const KEYS = ['a', 'b', 'c']

const BOUNDS: Bounds[] = [
  { requestsPerMinute: 5, tokensPerMinute: 300, nanoUsdPerMonth: 5_000n },
  { tokensPerMinute: 500, concurrentRequests: 4, nanoUsdPerDay: 900n },
  { requestsPerMinute: 12, nanoUsdPerDay: 700n, concurrentRequests: 6 },
]

const step = fc.record({
  advanceMs: fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 0, max: 9_000 }) },
    { weight: 3, arbitrary: fc.integer({ min: 0, max: 130_000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 40 * 86_400_000 }) },
  ),
  renew: fc.boolean(),
  settle: fc.boolean(),
  /** With the claims, not before them. */
  along: fc.boolean(),
  used: fc.record({
    tokens: fc.integer({ min: 0, max: 250 }),
    nanoUsd: fc.bigInt({ min: 0n, max: 400n }),
  }),
  claims: fc.array(
    fc.record({
      shares: fc.subarray([0, 1, 2], { minLength: 1 }),
      tokens: fc.integer({ min: 0, max: 200 }),
      nanoUsd: fc.bigInt({ min: 0n, max: 300n }),
      isFinal: fc.boolean(),
    }),
    { maxLength: 4 },
  ),
})
