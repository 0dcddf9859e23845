import { Redis } from 'ioredis'

import type { Logger } from '../log/log.ts'
import { COMMAND_TIMEOUT_MS, CONNECT_TIMEOUT_MS, RECONNECT_PAUSE_MS_MAX } from './constants.ts'
import { reasonOf } from './describe-redis.ts'

export interface OptionalRedisInit {
  url: string
  /** What is said once for each outage. */
  awayMessage: string
}

/**
 * A Redis that its users can do without: nothing waits for it, and nothing fails because it is
 * away. It is connected to in the background, and again after each outage.
 */
export class OptionalRedis {
  readonly #redis: Redis
  readonly #log: Logger
  readonly #awayMessage: string
  #away = false

  constructor({ log }: { log: Logger }, { url, awayMessage }: OptionalRedisInit) {
    this.#log = log
    this.#awayMessage = awayMessage
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

  /** Undefined while it is away. */
  async try<T>(ask: (redis: Redis) => Promise<T>): Promise<T | undefined> {
    try {
      return await ask(this.#redis)
    } catch (error) {
      this.#noteAway(error)
      return undefined
    }
  }

  close(): Promise<void> {
    this.#redis.disconnect()
    return Promise.resolve()
  }

  #noteAway(error: unknown): void {
    if (this.#away) return
    this.#away = true
    this.#log.warn({ reason: reasonOf(error) }, this.#awayMessage)
  }
}
