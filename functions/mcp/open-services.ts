import { DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { openDatabase } from '../../shared/db/database.ts'
import type { Logger } from '../../shared/log/log.ts'
import { openQueue } from '../../shared/queue/open-queue.ts'
import { Threads } from '../../shared/thread/threads.ts'
import type { McpConfig } from './config.ts'
import { DATABASE_CONNECTIONS_MAX } from './constants.ts'
import type { Services } from './services.ts'

/** What the tools work with, as the environment names it. Nothing is asked before the first use. */
export function openServices(
  config: Pick<McpConfig, 'BZZZ_ENDPOINT' | 'DATABASE_URL' | 'REDIS_URL'>,
  { log }: { log: Logger },
): { services: Services; close(): Promise<void> } {
  const { DATABASE_URL: databaseURL, REDIS_URL: redisURL } = config
  const daemon = new DaemonClient({ endpoints: config.BZZZ_ENDPOINT })
  const queue = openQueue({ log }, { databaseURL, redisURL })
  const connectionsMax = DATABASE_CONNECTIONS_MAX
  const database = databaseURL ? openDatabase(databaseURL, { log }, { connectionsMax }) : null
  const db = database?.db ?? null
  const threads = db && new Threads({ daemon, db })
  return {
    services: { daemon, queue, db, threads },
    close: async () => {
      await Promise.all([daemon.close(), queue?.close(), database?.close()])
    },
  }
}
