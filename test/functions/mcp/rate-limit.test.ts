import { LRUCache } from 'lru-cache'
import { describe, expect, it } from 'vitest'

import { MemoryRateLimit } from '../../../functions/mcp/access/memory-rate-limit.ts'

const RATE = { perMinute: 60 }

/** With a clock that is set by hand, and keys of its own. */
function createLimit() {
  const clock = { ms: 1_000 }
  const dueAtMs = new LRUCache<string, number>({ max: 10 })
  const limit = new MemoryRateLimit({ dueAtMs, now: () => clock.ms })
  return { limit, clock, dueAtMs }
}

function takeMany(limit: MemoryRateLimit, key: string, times: number): number {
  return Array.from({ length: times }, () => limit.take(key, RATE)).filter((ms) => ms === 0).length
}

describe('memory-rate-limit', () => {
  it('lets half of a minute through at once, then one by one', () => {
    const { limit, clock } = createLimit()
    expect(takeMany(limit, 'ada blob_get', 100)).toBe(30)
    expect(limit.take('ada blob_get', RATE)).toBe(1_000)
    clock.ms += 999
    expect(limit.take('ada blob_get', RATE)).toBe(1)
    clock.ms += 1
    expect(limit.take('ada blob_get', RATE)).toBe(0)
    expect(limit.take('ada blob_get', RATE)).toBe(1_000)
  })

  it('never lets more through in a minute than the rate and what may come at once', () => {
    const { limit, clock } = createLimit()
    let taken = 0
    for (let step = 0; step < 600; step += 1) {
      taken += takeMany(limit, 'k', 5)
      clock.ms += 100
    }
    expect(taken).toBe(60 + 30 - 1)
  })

  it('counts each key for itself', () => {
    const { limit } = createLimit()
    expect(takeMany(limit, 'ada blob_get', 100)).toBe(30)
    expect(takeMany(limit, 'bob blob_get', 100)).toBe(30)
    expect(takeMany(limit, 'ada blob_put', 100)).toBe(30)
  })

  it('is one limit for all replicas in a process', () => {
    const key = `replicas ${Math.random()}`
    const replicas = [new MemoryRateLimit(), new MemoryRateLimit()]
    const rate = { perMinute: 4 }
    const waits = Array.from({ length: 8 }, (_, index) => replicas[index % 2]!.take(key, rate))
    expect(waits.filter((ms) => ms === 0)).toHaveLength(2)
  })

  it('remembers no more keys than it may', () => {
    const { limit, dueAtMs } = createLimit()
    for (let key = 0; key < 100; key += 1) limit.take(`k${key}`, RATE)
    expect(dueAtMs.size).toBe(10)
  })
})
