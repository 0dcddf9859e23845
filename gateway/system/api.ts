import type { FastifyInstance } from 'fastify'

import { authPlugin, type AuthComponents } from '../../shared/auth/plugin.ts'
import { createService } from '../../shared/http/service.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'
import type { Deployments } from '../deployments/deployments.ts'
import { asyncCallRoutes } from '../jobs/async-call.ts'
import type { GatewayJobs } from '../jobs/gateway-jobs.ts'
import { jobRoutes } from '../jobs/job-routes.ts'
import type { FunctionLogs } from '../logs/function-logs.ts'
import type { GatewayMetrics } from '../metrics.ts'
import type { FunctionProvider } from '../providers/provider.ts'
import type { SecretStore } from '../secrets/secret-store.ts'
import { acceptBasicAuth } from './admin-auth.ts'
import { deploymentRoutes } from './deployment-routes.ts'
import { logRoutes } from './log-routes.ts'
import { secretRoutes } from './secret-routes.ts'
import { systemRoutes } from './routes.ts'

export interface ApiComponents {
  provider: FunctionProvider
  /** What a gateway that runs functions itself can do; a platform has commands of its own. */
  deployments: Deployments | null
  secrets: SecretStore | null
  logs: FunctionLogs | null
  jobs: GatewayJobs
  metrics: GatewayMetrics
  auth: AuthComponents
  registry: Registry
  log: Logger
}

/** What the gateway answers itself. It does not listen: the front hands it requests. */
export async function createApi(
  components: ApiComponents,
  init: { isReady: () => boolean; arch: string; instance: string },
): Promise<FastifyInstance> {
  const { provider, deployments, secrets, logs, jobs, metrics, auth } = components
  const app = createService(components, {
    metricsPath: false,
    ready: async () => ({
      ready: init.isReady(),
      detail: { functions: provider.list().length },
    }),
  })
  app.register(async (scope) => {
    acceptBasicAuth(scope)
    await scope.register(authPlugin, auth)
    // As OpenFaaS: a body is JSON whatever its content type says, and many clients say nothing.
    scope.removeAllContentTypeParsers()
    const json = scope.getDefaultJsonParser('error', 'error')
    scope.addContentTypeParser('*', { parseAs: 'string' }, json)
    await scope.register(systemRoutes, { provider, metrics, arch: init.arch })
    await scope.register(deploymentRoutes, { deployments })
    await scope.register(secretRoutes, { secrets })
    await scope.register(logRoutes, { provider, logs, instance: init.instance })
    await scope.register(jobRoutes, { provider, jobs })
    await scope.register(asyncCallRoutes, { provider, jobs, verify: auth.verify })
  })
  await app.ready()
  return app
}
