import { Redis } from 'ioredis'

import { RedisUnavailableError } from '../errors.ts'
import { CONNECT_TIMEOUT_MS } from './constants.ts'
import { describeRedis, reasonOf } from './describe-redis.ts'

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
