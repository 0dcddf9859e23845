import type { Logger } from '../../../shared/log/log.ts'
import { OptionalRedis } from '../../../shared/redis/optional-redis.ts'
import { MemoryRateLimit } from './memory-rate-limit.ts'
import { cellOf, type Rate, type RateLimit } from './rate-limit.ts'

const KEY_PREFIX = 'bzzz:mcp:rate:'

/** By Redis's own clock, so that replicas need not agree on the time. */
const TAKE = `
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local wait = due - tolerance - now
if wait > 0 then return tostring(wait) end
redis.call('SET', KEYS[1], tostring(due + interval), 'PX', math.ceil(due + interval - now) + 1000)
return '0'
`

/**
 * Rates that all replicas count together. While Redis is away each counts for itself: a limit that
 * is a little too wide is better than none, and than a tool that cannot be used.
 */
export class RedisRateLimit implements RateLimit {
  readonly #redis: OptionalRedis
  readonly #own = new MemoryRateLimit()

  constructor({ log }: { log: Logger }, { url }: { url: string }) {
    const awayMessage = 'rates are counted by each replica: Redis is away'
    this.#redis = new OptionalRedis({ log }, { url, awayMessage })
  }

  async take(key: string, rate: Rate): Promise<number> {
    const { intervalMs, toleranceMs } = cellOf(rate)
    const waitMs = await this.#redis.try((redis) =>
      redis.eval(TAKE, 1, KEY_PREFIX + key, intervalMs, toleranceMs),
    )
    return waitMs === undefined ? this.#own.take(key, rate) : Number(waitMs)
  }

  close(): Promise<void> {
    return this.#redis.close()
  }
}
