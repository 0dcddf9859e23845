import type { FastifyInstance } from 'fastify'

import { registerAccess } from '../../shared/auth/access.ts'
import { parseEnv } from '../../shared/config/env.ts'
import type { FunctionContext } from '../../shared/function/function.ts'
import { openAccounting } from './accounting.ts'
import { BodyBudget } from './body/body-budget.ts'
import { ExactCache } from './cache/exact-cache.ts'
import { accountingConfigSchema, llmProxyConfigSchema } from './config.ts'
import { Forwarder } from './forward/forwarder.ts'
import { CallMetrics } from './metrics.ts'
import { ModelCalls } from './model-calls.ts'
import { llmRoutes } from './routes.ts'
import { openThreadAppender } from './thread/compose.ts'
import { ConfigSource } from './upstreams/config-source.ts'
import { HealthProbes } from './upstreams/health-probes.ts'
import { ModelList } from './upstreams/model-list.ts'
import { Router } from './upstreams/router.ts'
import { usageRoutes } from './usage/routes.ts'

/** OpenAI's API in front of every model that the team has. */
export default async function llmProxy(
  app: FastifyInstance,
  context: FunctionContext,
): Promise<void> {
  const { env, log, registry, secretsDirs } = context
  // The key's file is watched, not read once; it may also come later.
  const config = parseEnv(llmProxyConfigSchema, { ...env, OPENAI_API_KEY_FILE: undefined })
  const source = ConfigSource.open(
    { log },
    {
      file: config.BZZZ_LLM_CONFIG_FILE,
      baseURL: config.OPENAI_BASE_URL,
      key: config.OPENAI_API_KEY,
      keyFile: env['OPENAI_API_KEY_FILE'] || undefined,
      secretsDirs,
    },
  )
  const router = new Router({ source, log }, { secretsDirs, endpoints: config.BZZZ_ENDPOINT })
  app.addHook('onClose', () => router.close())

  const probes = new HealthProbes({ upstreams: () => router.upstreams, log, registry })
  app.addHook('onClose', () => probes.stop())
  await probes.start()

  const metrics = new CallMetrics({ registry, upstreams: () => router.upstreams })
  const forwarder = new Forwarder({ log, observer: metrics })
  const accounted = parseEnv(accountingConfigSchema, env)
  const { BZZZ_ENDPOINT: endpoints } = config
  const accounting = openAccounting(context, accounted, { endpoints })
  app.addHook('onClose', () => accounting.stop())
  await accounting.start()
  const cache = new ExactCache({ settings: () => router.config.cache, registry })
  const threads = openThreadAppender(
    { metrics, log, registry },
    { databaseURL: accounted.DATABASE_URL, endpoints },
  )
  app.addHook('onClose', async () => threads?.stop())
  const calls = new ModelCalls({
    ...{ router, forwarder, metrics, cache, threads: threads?.appender ?? null },
    ...accounting,
  })

  await registerAccess(app, context)
  await app.register(llmRoutes, {
    prefix: '/v1',
    calls,
    models: new ModelList({ router, log }),
    budget: new BodyBudget({ bytesMax: config.BZZZ_LLM_BODIES_BYTES }),
  })
  await app.register(usageRoutes, { db: accounting.db })
}
