import { Redis } from 'ioredis'
import { afterEach, describe, expect, it } from 'vitest'

import type { RateLimit } from '../../../functions/mcp/access/rate-limit.ts'
import { RedisRateLimit } from '../../../functions/mcp/access/redis-rate-limit.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { until } from '../../helpers/mesh.ts'

const { REDIS_URL } = process.env

/** So few that none comes back while the test runs: half of them at once. */
const RATE = { perMinute: 6 }
const AT_ONCE = 3

const open: RateLimit[] = []

afterEach(async () => {
  for (const limit of open.splice(0)) await limit.close()
})

function createLimit(url: string): RedisRateLimit {
  const limit = new RedisRateLimit({ log: createSilentLogger() }, { url })
  open.push(limit)
  return limit
}

const keyOf = (name: string) => `${name} ${Math.random()}`

describe('redis-rate-limit', () => {
  it('counts for itself while Redis is away', async () => {
    const limit = createLimit('redis://127.0.0.1:9')
    const key = keyOf('away')
    const waits: number[] = []
    for (let turn = 0; turn < 8; turn += 1) waits.push(await limit.take(key, RATE))
    expect(waits.filter((ms) => ms === 0)).toHaveLength(AT_ONCE)
  })

  it('is one limit for all replicas', async (context) => {
    if (REDIS_URL === undefined) return context.skip('npm run test:services brings the servers')
    const replicas = [createLimit(REDIS_URL), createLimit(REDIS_URL)]
    const redis = new Redis(REDIS_URL)
    context.onTestFinished(() => redis.disconnect())
    const isKept = async (key: string) => (await redis.exists(`bzzz:mcp:rate:${key}`)) === 1
    // Until they are connected each counts for itself.
    await until(async () => {
      const warm = replicas.map((_, index) => keyOf(`warm-${index}`))
      await Promise.all(replicas.map((limit, index) => limit.take(warm[index]!, RATE)))
      return (await Promise.all(warm.map(isKept))).every(Boolean)
    }, 'both to be connected')
    const key = keyOf('shared')
    const waits: number[] = []
    for (let turn = 0; turn < 8; turn += 1) waits.push(await replicas[turn % 2]!.take(key, RATE))
    expect(waits.filter((ms) => ms === 0)).toHaveLength(AT_ONCE)
    expect(await isKept(key)).toBe(true)
    expect(waits.at(-1)).toBeGreaterThan(0)
    expect(waits.at(-1)).toBeLessThanOrEqual(60_000)
  })
})
