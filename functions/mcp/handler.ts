import { createMcpHandler } from '@modelcontextprotocol/server'
import type { FastifyInstance } from 'fastify'

import { registerAccess } from '../../shared/auth/access.ts'
import { parseEnv } from '../../shared/config/env.ts'
import type { FunctionContext } from '../../shared/function/function.ts'
import { MemoryRateLimit } from './access/memory-rate-limit.ts'
import { RedisRateLimit } from './access/redis-rate-limit.ts'
import { Surface } from './access/surface.ts'
import { mcpConfigSchema, type McpConfig } from './config.ts'
import { withConformance } from './conformance/toolset.ts'
import { MESSAGE_BYTES_MAX, SUBSCRIPTIONS_MAX } from './constants.ts'
import { checkOrigin } from './http/origin.ts'
import { McpMetrics } from './metrics.ts'
import { openServices } from './open-services.ts'
import { exchangeOf, mcpRoutes } from './routes.ts'
import { Calls, type CallsComponents } from './server/calls.ts'
import { McpServers } from './server/mcp-servers.ts'
import { TABLE } from './table.ts'

/** The mesh for agents, by the Model Context Protocol. */
export default async function mcp(app: FastifyInstance, context: FunctionContext): Promise<void> {
  const config = parseEnv(mcpConfigSchema, context.env)
  const { log, registry } = context
  const { REDIS_URL: url, BZZZ_MCP_PUBLIC_URL: publicURL } = config

  const opened = openServices(config, { log })
  const { services } = opened
  const rateLimit = url ? new RedisRateLimit({ log }, { url }) : new MemoryRateLimit()
  const hosts = [...config.BZZZ_MCP_ALLOWED_HOSTS, new URL(publicURL).hostname]
  const origins = config.BZZZ_MCP_ALLOWED_ORIGINS
  app.addHook('onRequest', async (request) => checkOrigin(request, { hosts, origins }))
  app.addHook('onClose', async () => {
    await Promise.all([opened.close(), rateLimit.close()])
  })
  context.ready('daemon', (signal) => services.daemon.isReady(signal))
  const { audit } = await registerAccess(app, context)

  const metrics = new McpMetrics({ registry })
  const parts = { services, rateLimit, metrics, log, audit }
  const { handler, ...served } = createHandler(parts, config, context)
  app.addHook('onClose', () => handler.close())
  const { BZZZ_MCP_AUTHORIZATION_SERVERS: authorizationServers } = config
  await app.register(mcpRoutes, { handler, ...served, audit, publicURL, authorizationServers })
}

/** Everything behind the door. */
function createHandler(
  parts: Omit<CallsComponents, 'surface'>,
  config: McpConfig,
  { log, version }: FunctionContext,
) {
  const conformance = config.BZZZ_MCP_CONFORMANCE
    ? withConformance(TABLE, { notify: () => handler.notify })
    : null
  const surface = new Surface(conformance?.table ?? TABLE)
  const callsPerMinuteMax = config.BZZZ_MCP_TOOL_RPM
  const calls = new Calls({ ...parts, surface }, { callsPerMinuteMax })
  const servers = new McpServers({ calls }, { version, ...conformance?.servers })
  const handler = createMcpHandler(
    ({ authInfo, era }) => servers.create(exchangeOf(authInfo), era),
    {
      maxRequestBodySize: MESSAGE_BYTES_MAX,
      maxSubscriptions: SUBSCRIPTIONS_MAX,
      onerror: (error) => log.debug({ err: error }, 'message refused'),
    },
  )
  return { handler, surface, calls }
}
