import type { Logger } from '../log/log.ts'
import { BullJobQueue } from './bull-job-queue.ts'
import type { JobQueue } from './job-queue.ts'
import { PostgresBackend } from './postgres-backend.ts'
import { RedisBackend } from './redis-backend.ts'

export interface OpenQueueInit {
  databaseURL?: string | undefined
  redisURL?: string | undefined
  /** Workers this process will run at most. */
  workers?: number
}

/**
 * The queue of the cluster: on Redis where there is one, else on Postgres, else none. Nothing is
 * asked of the server before the first use.
 */
export function openQueue({ log }: { log: Logger }, init: OpenQueueInit): JobQueue | null {
  const { databaseURL, redisURL, workers = 0 } = init
  if (redisURL) {
    return new BullJobQueue({ backend: new RedisBackend({ log }, { url: redisURL }), log })
  }
  if (!databaseURL) return null
  const backend = new PostgresBackend({ log }, { url: databaseURL, workers })
  return new BullJobQueue({ backend, log })
}
