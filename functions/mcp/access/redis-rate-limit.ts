import { Redis } from 'ioredis'

import type { Logger } from '../../../shared/log/log.ts'
import { MemoryRateLimit } from './memory-rate-limit.ts'
import { cellOf, type Rate, type RateLimit } from './rate-limit.ts'

/** A count that takes longer than this is not waited for. */
const COMMAND_TIMEOUT_MS = 250
const CONNECT_TIMEOUT_MS = 5_000

/** Pause before the n-th attempt to come back: 50 ms, 100 ms ... at most this. */
const RECONNECT_PAUSE_MS_MAX = 2_000

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
  readonly #redis: Redis
  readonly #log: Logger
  readonly #own = new MemoryRateLimit()
  #away = false

  constructor({ log }: { log: Logger }, { url }: { url: string }) {
    this.#log = log
    this.#redis = new Redis(url, {
      connectTimeout: CONNECT_TIMEOUT_MS,
      commandTimeout: COMMAND_TIMEOUT_MS,
      enableOfflineQueue: false,
      lazyConnect: true,
      maxRetriesPerRequest: 0,
      retryStrategy: (attempt) => Math.min(attempt * 50, RECONNECT_PAUSE_MS_MAX),
    })
    this.#redis.on('error', (error: Error) => this.#noteAway(error))
    this.#redis.on('ready', () => (this.#away = false))
    this.#redis.connect().catch((error: Error) => this.#noteAway(error))
  }

  async take(key: string, rate: Rate): Promise<number> {
    const { intervalMs, toleranceMs } = cellOf(rate)
    try {
      return Number(await this.#redis.eval(TAKE, 1, KEY_PREFIX + key, intervalMs, toleranceMs))
    } catch (error) {
      this.#noteAway(error)
      return this.#own.take(key, rate)
    }
  }

  close(): Promise<void> {
    this.#redis.disconnect()
    return Promise.resolve()
  }

  /** Said once for each outage. */
  #noteAway(error: unknown): void {
    if (this.#away) return
    this.#away = true
    const reason = error instanceof Error ? error.message : String(error)
    this.#log.warn({ reason }, 'rates are counted by each replica: Redis is away')
  }
}
