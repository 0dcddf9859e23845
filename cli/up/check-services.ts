import { Redis } from 'ioredis'

import { RedisUnavailableError } from '../../shared/errors.ts'

/** A server that does not answer in this time would hold the start up for everybody. */
const CONNECT_TIMEOUT_MS = 5_000

/**
 * Connects to Redis once, so that a wrong address is known at start.
 * @throws RedisUnavailableError with host and reason, never the password
 */
export async function checkRedis(url: string): Promise<void> {
  let reason = 'no answer in time'
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: CONNECT_TIMEOUT_MS,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  })
  // The reason comes as an event; the promise only says that the connection is closed.
  client.on('error', (error: Error) => (reason = error.message))
  try {
    await client.connect()
    await client.ping()
  } catch (error) {
    if (error instanceof Error && !/closed/i.test(error.message)) reason = error.message
    throw new RedisUnavailableError(
      `Redis at ${describeRedis(url)} cannot be used: ${reason}. Check REDIS_URL.`,
    )
  } finally {
    client.disconnect()
  }
}

/** Host and port of a connection string: what may be shown of it. */
function describeRedis(url: string): string {
  try {
    const { hostname, port } = new URL(url)
    return `${hostname || '127.0.0.1'}:${port || '6379'}`
  } catch {
    return 'an unreadable REDIS_URL'
  }
}
