import type { FastifyInstance } from 'fastify'

import { FunctionNotFoundError, NotSupportedError } from '../../shared/errors.ts'
import { VERSION } from '../../shared/version.ts'
import { NAMESPACE } from '../constants.ts'
import type { GatewayMetrics } from '../metrics.ts'
import type { DeployedFunction, FunctionProvider } from '../providers/provider.ts'
import { splitName } from '../proxy/invoker.ts'
import { ADMIN } from './admin-auth.ts'
import { toStatus } from './function-status.ts'

export interface SystemRoutesOptions {
  provider: FunctionProvider
  metrics: GatewayMetrics
  /** As Node names it: x64, arm64. */
  arch: string
}

/** The part of OpenFaaS's `/system` that tells what runs here. */
export async function systemRoutes(
  app: FastifyInstance,
  { provider, metrics, arch }: SystemRoutesOptions,
): Promise<void> {
  const status = (deployed: DeployedFunction) => {
    const details = deployed.details()
    return toStatus(details, metrics.invocations(`${details.name}.${details.namespace}`))
  }

  app.get<{ Querystring: { namespace?: string } }>(
    '/system/functions',
    ADMIN,
    async ({ query }) => {
      const namespace = query.namespace || NAMESPACE
      return provider
        .list()
        .map(status)
        .filter((one) => one.namespace === namespace)
    },
  )

  app.get<{ Params: { name: string }; Querystring: { namespace?: string } }>(
    '/system/function/:name',
    ADMIN,
    async ({ params, query }) => {
      const { name, namespace } = splitName(params.name)
      const deployed = provider.find(name, query.namespace || namespace)
      if (!deployed) throw new FunctionNotFoundError(`There is no function named ${params.name}.`)
      return status(deployed)
    },
  )

  app.get('/system/namespaces', ADMIN, async () => [NAMESPACE])

  app.all('/system/namespace/:namespace', ADMIN, async () => {
    throw new NotSupportedError(`There is one namespace, ${NAMESPACE}.`)
  })

  app.get('/system/info', ADMIN, async () => {
    // faas-cli ends with a nil dereference when one of the versions is missing.
    const version = { release: VERSION, sha: '' }
    const { orchestration } = provider
    return {
      provider: { provider: 'bzzz', orchestration, version },
      version,
      // As Go names it, which is what the tools show.
      arch: arch === 'x64' ? 'x86_64' : arch,
    }
  })
}
