import type { Logger } from '../log/log.ts'
import { OptionalRedis } from '../redis/optional-redis.ts'
import type { Cache } from './cache.ts'

/** Everything of bzzz in a Redis that others may use too. */
const KEY_PREFIX = 'bzzz:'

/** A cache shared by every replica that is given the same REDIS_URL. */
export class RedisCache<Value extends object> implements Cache<Value> {
  readonly #redis: OptionalRedis

  constructor({ log }: { log: Logger }, { url }: { url: string }) {
    this.#redis = new OptionalRedis({ log }, { url, awayMessage: 'cache is away' })
  }

  async get(key: string): Promise<Value | undefined> {
    const text = await this.#redis.try((redis) => redis.get(KEY_PREFIX + key))
    return text ? (JSON.parse(text) as Value) : undefined
  }

  async set(key: string, value: Value, ttlMs: number): Promise<void> {
    const text = JSON.stringify(value)
    await this.#redis.try((redis) => redis.set(KEY_PREFIX + key, text, 'PX', ttlMs))
  }

  async delete(key: string): Promise<void> {
    await this.#redis.try((redis) => redis.del(KEY_PREFIX + key))
  }

  close(): Promise<void> {
    return this.#redis.close()
  }
}
