import { QueueUnavailableError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { JobQueue } from '../../shared/queue/job-queue.ts'
import { openQueue } from '../../shared/queue/open-queue.ts'
import { isLoopbackHost } from '../../shared/http/loopback.ts'
import type { GatewayConfig } from '../config.ts'

/** What the gateway needs for asynchronous calls. */
export interface GatewayJobs {
  /** @throws QueueUnavailableError where none is configured */
  queue(): JobQueue
  /** Hosts that answers may be sent to. */
  callbackHosts: readonly string[]
  /** Whether a call is taken in from who shows no token. */
  anonymous: boolean
  close(): Promise<void>
}

/** Nothing is asked of the queue's server before a job comes: the gateway starts without it. */
export function openJobs(config: GatewayConfig, { log }: { log: Logger }): GatewayJobs {
  const { DATABASE_URL: databaseURL, REDIS_URL: redisURL } = config
  const queue = openQueue({ log }, { databaseURL, redisURL })
  return {
    queue: () => {
      if (queue) return queue
      throw new QueueUnavailableError('There is no queue: set REDIS_URL or DATABASE_URL.')
    },
    callbackHosts: config.BZZZ_CALLBACK_HOSTS,
    anonymous: takesAnonymous(config),
    close: async () => queue?.close(),
  }
}

/** What anybody may queue, anybody may fill a disk with. */
function takesAnonymous({ BZZZ_ASYNC_ANONYMOUS, BZZZ_HOST }: GatewayConfig): boolean {
  if (BZZZ_ASYNC_ANONYMOUS === 'auto') return isLoopbackHost(BZZZ_HOST)
  return BZZZ_ASYNC_ANONYMOUS === 'on'
}
