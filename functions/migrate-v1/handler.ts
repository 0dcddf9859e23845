import type { FastifyInstance } from 'fastify'

import { registerAccess } from '../../shared/auth/access.ts'
import { parseEnv } from '../../shared/config/env.ts'
import { DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { openDatabase, type BzzzDatabase } from '../../shared/db/database.ts'
import { DatabaseUnavailableError } from '../../shared/errors.ts'
import type { FunctionContext } from '../../shared/function/function.ts'
import type { JobQueue } from '../../shared/queue/job-queue.ts'
import { openQueue } from '../../shared/queue/open-queue.ts'
import { Threads } from '../../shared/thread/threads.ts'
import { ChunkStep } from './chunk-step.ts'
import { migrateV1ConfigSchema } from './config.ts'
import { EntryStore } from './entry-store.ts'
import { Flow } from './flow.ts'
import { ImportStore } from './import-store.ts'
import { ReportStep } from './report-step.ts'
import { migrateRoutes, type Importer } from './routes.ts'
import { ThreadStep } from './thread-step.ts'
import { ThreadStore } from './thread-store.ts'
import { Undo } from './undo.ts'
import { VerifyStep } from './verify-step.ts'

/** Imports of logs of v1, as jobs. */
export default async function migrateV1(
  app: FastifyInstance,
  context: FunctionContext,
): Promise<void> {
  const config = parseEnv(migrateV1ConfigSchema, context.env)
  const { log } = context
  const { DATABASE_URL: databaseURL, REDIS_URL: redisURL, BZZZ_ENDPOINT: endpoints } = config
  const queue = openQueue({ log }, { databaseURL, redisURL })
  const database = databaseURL === undefined ? null : openDatabase(databaseURL, { log })
  const daemon = new DaemonClient({ endpoints })
  // What was written through one node is read back from another one, where there is one.
  const otherDaemon = new DaemonClient({ endpoints: [...endpoints.slice(1), endpoints[0]!] })
  const importer =
    database && queue ? compose({ db: database.db, queue, daemon, otherDaemon }) : null

  app.addHook('onClose', async () => {
    await Promise.all([daemon.close(), otherDaemon.close(), queue?.close(), database?.close()])
  })
  context.ready('queue', async () => (await queue?.isReady()) ?? false)
  context.ready('daemon', (signal) => daemon.isReady(signal))
  await registerAccess(app, context)
  await app.register(migrateRoutes, {
    importer: () => {
      if (importer) return importer
      throw new DatabaseUnavailableError('Imports need PostgreSQL: set DATABASE_URL.')
    },
  })
}

function compose(parts: {
  db: BzzzDatabase
  queue: JobQueue
  daemon: DaemonClient
  otherDaemon: DaemonClient
}): Importer {
  const { db, queue, daemon, otherDaemon } = parts
  const imports = new ImportStore({ db })
  const entries = new EntryStore({ db })
  const conversations = new ThreadStore({ db })
  const threads = new Threads({ daemon, db })
  return {
    ...{ daemon, queue, imports, entries },
    flow: new Flow({ queue, imports, conversations }),
    undo: new Undo({ db, daemon, imports, conversations }),
    steps: {
      chunk: new ChunkStep({ daemon, imports, entries }),
      threads: new ThreadStep({ daemon, threads, imports, entries, conversations }),
      verify: new VerifyStep({ daemon: otherDaemon, imports, entries }),
      report: new ReportStep({ db, daemon, imports }),
    },
  }
}
