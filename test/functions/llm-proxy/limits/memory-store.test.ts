import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { MemoryLimitStore } from '../../../../functions/llm-proxy/limits/memory-store.ts'
import { limitStoreSuite } from '../../../suites/limit-store.ts'

// All replicas of one process are the one store.
const shared = new MemoryLimitStore()

limitStoreSuite(() => {
  let clocked: MemoryLimitStore | undefined
  return {
    create: ({ now }) => (now ? (clocked ??= new MemoryLimitStore({ now })) : shared),
    stop: () => Promise.resolve(),
  }
})

describe('memory-store', () => {
  it('never lets more through in 60 s than the limit, nor refuses what 61 s have room for', async () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 20_000 }), { minLength: 1, maxLength: 200 })
    const limits = fc.integer({ min: 1, max: 12 })
    await fc.assert(
      fc.asyncProperty(gaps, limits, async (gapsMs, limit) => {
        let nowMs = 1_000_000_000
        const store = new MemoryLimitStore({ now: () => nowMs })
        const shares = [{ key: 'k', bounds: { requestsPerMinute: limit } }]
        const granted: number[] = []
        const within = (windowMs: number) => granted.filter((at) => at > nowMs - windowMs).length
        for (const [index, gapMs] of gapsMs.entries()) {
          nowMs += gapMs
          const claims = [{ id: String(index), shares, tokens: 0, nanoUsd: 0n }]
          const [verdict] = await store.reserve(claims, 60_000)
          if (verdict!.refusal) {
            expect(within(61_000)).toBeGreaterThanOrEqual(limit)
            const askedMs = nowMs
            nowMs += verdict!.refusal.waitMs
            const [again] = await store.reserve([{ ...claims[0]!, id: `${index}-again` }], 60_000)
            expect(again!.refusal).toBeNull()
            expect(nowMs - askedMs).toBeLessThanOrEqual(61_000)
          }
          granted.push(nowMs)
          expect(within(60_000)).toBeLessThanOrEqual(limit)
        }
      }),
    )
  })
})
