import type { FastifyInstance } from 'fastify'

import { registerAccess } from '../../shared/auth/access.ts'
import { parseEnv } from '../../shared/config/env.ts'
import type { FunctionContext } from '../../shared/function/function.ts'
import { openQueue } from '../../shared/queue/open-queue.ts'
import { jobsConfigSchema } from './config.ts'
import { jobRoutes } from './routes.ts'

/** Jobs for people and agents: submit one, see what became of it, end it. */
export default async function jobs(app: FastifyInstance, context: FunctionContext): Promise<void> {
  const config = parseEnv(jobsConfigSchema, context.env)
  const { DATABASE_URL: databaseURL, REDIS_URL: redisURL } = config
  const queue = openQueue({ log: context.log }, { databaseURL, redisURL })

  app.addHook('onClose', async () => queue?.close())
  context.ready('queue', async () => (await queue?.isReady()) ?? false)
  await registerAccess(app, context)
  await app.register(jobRoutes, { queue, callbackHosts: config.BZZZ_CALLBACK_HOSTS })
}
