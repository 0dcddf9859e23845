import { Redis } from 'ioredis'

import { RedisUnavailableError } from '../errors.ts'
import type { Logger } from '../log/log.ts'
import type { Cache } from './cache.ts'

/** A cache that takes longer than this is slower than asking the daemon. */
const COMMAND_TIMEOUT_MS = 250

/** A server that does not answer a connect in this time is treated as away. */
const CONNECT_TIMEOUT_MS = 5_000

/** Pause before the n-th attempt to come back: 50 ms, 100 ms ... at most this. */
const RECONNECT_PAUSE_MS_MAX = 2_000

/** Everything of bzzz in a Redis that others may use too. */
const KEY_PREFIX = 'bzzz:'

/** A cache shared by every replica that is given the same REDIS_URL. */
export class RedisCache<Value extends object> implements Cache<Value> {
  readonly #redis: Redis
  readonly #log: Logger
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

  async get(key: string): Promise<Value | undefined> {
    try {
      const text = await this.#redis.get(KEY_PREFIX + key)
      return text === null ? undefined : (JSON.parse(text) as Value)
    } catch (error) {
      this.#noteAway(error)
      return undefined
    }
  }

  async set(key: string, value: Value, ttlMs: number): Promise<void> {
    await this.#redis
      .set(KEY_PREFIX + key, JSON.stringify(value), 'PX', ttlMs)
      .catch((error: Error) => this.#noteAway(error))
  }

  async delete(key: string): Promise<void> {
    await this.#redis.del(KEY_PREFIX + key).catch((error: Error) => this.#noteAway(error))
  }

  close(): Promise<void> {
    this.#redis.disconnect()
    return Promise.resolve()
  }

  /** Said once for each outage, not for each request. */
  #noteAway(error: unknown): void {
    if (this.#away) return
    this.#away = true
    this.#log.warn({ reason: reasonOf(error) }, 'cache is away')
  }
}

/** Host and port of a Redis URL: what may be shown of it. */
export function describeRedis(url: string): string {
  try {
    const { hostname, port } = new URL(url)
    return `${hostname || 'localhost'}:${port || '6379'}`
  } catch {
    return 'an unreadable REDIS_URL'
  }
}

/**
 * Connects once, so that a wrong address is known at start.
 * @throws RedisUnavailableError with host and reason, never the password
 */
export async function checkRedis(url: string): Promise<void> {
  let redis: Redis | undefined
  let lastError: unknown
  try {
    redis = new Redis(url, {
      connectTimeout: CONNECT_TIMEOUT_MS,
      commandTimeout: CONNECT_TIMEOUT_MS,
      lazyConnect: true,
      retryStrategy: () => null,
    })
    redis.on('error', (error) => (lastError = error))
    await redis.connect()
    await redis.ping()
  } catch (error) {
    throw new RedisUnavailableError(
      `Redis at ${describeRedis(url)} cannot be used: ${reasonOf(lastError ?? error)}. ` +
        'Check REDIS_URL.',
    )
  } finally {
    redis?.disconnect()
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/\.$/, '') : 'unknown reason'
}
