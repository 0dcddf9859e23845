import type { FastifyInstance } from 'fastify'

import { registerAccess } from '../../shared/auth/access.ts'
import { parseEnv } from '../../shared/config/env.ts'
import { DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { openDatabase } from '../../shared/db/database.ts'
import type { FunctionContext } from '../../shared/function/function.ts'
import { Threads } from '../../shared/thread/threads.ts'
import { threadsConfigSchema } from './config.ts'
import { messageRoutes } from './message-routes.ts'
import { threadRoutes } from './thread-routes.ts'

/** Appends wait for one another at the row of a thread; reads pass them by. */
const CONNECTIONS_MAX = 6

/** Conversations of agents and people. */
export default async function threads(
  app: FastifyInstance,
  context: FunctionContext,
): Promise<void> {
  const config = parseEnv(threadsConfigSchema, context.env)
  const { log } = context
  const daemon = new DaemonClient({ endpoints: config.BZZZ_ENDPOINT })
  const database = config.DATABASE_URL
    ? openDatabase(config.DATABASE_URL, { log }, { connectionsMax: CONNECTIONS_MAX })
    : null
  const kept = database && new Threads({ daemon, db: database.db })

  app.addHook('onClose', async () => {
    await Promise.all([daemon.close(), database?.close()])
  })
  context.ready('daemon', (signal) => daemon.isReady(signal))
  context.ready('database', async () => (await kept?.isReady()) ?? false)
  await registerAccess(app, context)
  await app.register(threadRoutes, { threads: kept })
  await app.register(messageRoutes, { threads: kept })
}
