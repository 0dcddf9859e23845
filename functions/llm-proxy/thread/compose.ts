import { DaemonClient } from '../../../shared/daemon/daemon-client.ts'
import { openDatabase } from '../../../shared/db/database.ts'
import type { Logger } from '../../../shared/log/log.ts'
import type { Registry } from '../../../shared/metrics/metrics.ts'
import { Threads } from '../../../shared/thread/threads.ts'
import type { CallMetrics } from '../metrics.ts'
import { ThreadAppender } from './thread-appender.ts'

/** Appends wait for each other at the row of a thread; a few threads are written to at once. */
const CONNECTIONS_MAX = 4

/** What appends calls to threads; null where there is no database. */
export function openThreadAppender(
  components: { metrics: CallMetrics; log: Logger; registry: Registry },
  init: { databaseURL: string | undefined; endpoints: readonly string[] },
): { appender: ThreadAppender; stop: () => Promise<void> } | null {
  const { databaseURL, endpoints } = init
  if (databaseURL === undefined) return null
  const { log } = components
  const daemon = new DaemonClient({ endpoints })
  const database = openDatabase(databaseURL, { log }, { connectionsMax: CONNECTIONS_MAX })
  const threads = new Threads({ daemon, db: database.db })
  const appender = new ThreadAppender({ ...components, threads })
  return {
    appender,
    stop: async () => {
      await appender.stop()
      await Promise.all([daemon.close(), database.close()])
    },
  }
}
