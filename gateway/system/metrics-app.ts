import type { FastifyInstance } from 'fastify'

import { createService, PUBLIC } from '../../shared/http/service.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'
import type { GatewayMetrics } from '../metrics.ts'

/** Metrics on a port of their own, as Prometheus setups for OpenFaaS expect them. */
export async function createMetricsApp(components: {
  metrics: GatewayMetrics
  registry: Registry
  log: Logger
}): Promise<FastifyInstance> {
  const app = createService(components, { metricsPath: false })
  app.get('/metrics', PUBLIC, async (_request, reply) => {
    const { contentType, text } = await components.metrics.expose()
    return reply.type(contentType).send(text)
  })
  await app.ready()
  return app
}
