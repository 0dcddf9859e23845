import type { FastifyInstance } from 'fastify'

import { authPlugin } from '../../shared/auth/plugin.ts'
import type { Revocations } from '../../shared/auth/revocations.ts'
import type { TokenVerifier } from '../../shared/auth/token.ts'
import { createService } from '../../shared/http/service.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'
import type { GatewayMetrics } from '../metrics.ts'
import type { FunctionProvider } from '../providers/provider.ts'
import { acceptBasicAuth } from './admin-auth.ts'
import { systemRoutes } from './routes.ts'

export interface ApiComponents {
  provider: FunctionProvider
  metrics: GatewayMetrics
  verify: TokenVerifier
  revocations: Revocations | null
  registry: Registry
  log: Logger
}

/** What the gateway answers itself. It does not listen: the front hands it requests. */
export async function createApi(
  components: ApiComponents,
  init: { isReady: () => boolean; arch: string },
): Promise<FastifyInstance> {
  const { provider, metrics, verify, revocations } = components
  const app = createService(components, {
    metricsPath: false,
    ready: async () => ({
      ready: init.isReady(),
      detail: { functions: provider.list().length },
    }),
  })
  app.register(async (scope) => {
    acceptBasicAuth(scope)
    await scope.register(authPlugin, {
      verify,
      ...(revocations && { isRevoked: (tokenId: string) => revocations.isRevoked(tokenId) }),
    })
    await scope.register(systemRoutes, { provider, metrics, arch: init.arch })
  })
  await app.ready()
  return app
}
