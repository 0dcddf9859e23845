import type { FastifyInstance } from 'fastify'

import { registerAccess } from '../../shared/auth/access.ts'
import { forgetExpiredTokens } from '../../shared/auth/token-registry.ts'
import { parseEnv } from '../../shared/config/env.ts'
import { openDatabase } from '../../shared/db/database.ts'
import type { FunctionContext } from '../../shared/function/function.ts'
import { maintenanceConfigSchema } from './config.ts'
import { NodeTasks } from './node-tasks.ts'
import { maintenanceRoutes } from './routes.ts'

/** Kept this long after their end: clocks differ, and a list of tokens is read by people. */
const TOKENS_KEPT_MS = 7 * 86_400_000

/** What a cluster needs done now and then, as a job with a schedule (annotation `schedule`). */
export default async function maintenance(
  app: FastifyInstance,
  context: FunctionContext,
): Promise<void> {
  const config = parseEnv(maintenanceConfigSchema, context.env)
  const { log } = context
  const database = config.DATABASE_URL
    ? openDatabase(config.DATABASE_URL, { log }, { connectionsMax: 1 })
    : null
  const nodes = new NodeTasks({ endpoints: config.BZZZ_ENDPOINT })

  app.addHook('onClose', async () => {
    await Promise.all([nodes.close(), database?.close()])
  })
  await registerAccess(app, context)
  await app.register(maintenanceRoutes, {
    nodes,
    removeExpiredTokens: async () =>
      database ? forgetExpiredTokens(database.db, TOKENS_KEPT_MS) : null,
  })
}
