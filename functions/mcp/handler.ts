import { createMcpHandler } from '@modelcontextprotocol/server'
import type { FastifyInstance } from 'fastify'

import { registerAccess } from '../../shared/auth/access.ts'
import { parseEnv } from '../../shared/config/env.ts'
import { DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { openDatabase } from '../../shared/db/database.ts'
import type { FunctionContext } from '../../shared/function/function.ts'
import { openQueue } from '../../shared/queue/open-queue.ts'
import { Threads } from '../../shared/thread/threads.ts'
import { MemoryRateLimit } from './access/memory-rate-limit.ts'
import { RedisRateLimit } from './access/redis-rate-limit.ts'
import { Surface } from './access/surface.ts'
import { mcpConfigSchema } from './config.ts'
import { withConformance } from './conformance/toolset.ts'
import { DATABASE_CONNECTIONS_MAX, MESSAGE_BYTES_MAX, SUBSCRIPTIONS_MAX } from './constants.ts'
import { checkOrigin } from './http/origin.ts'
import { McpMetrics } from './metrics.ts'
import { exchangeOf, mcpRoutes } from './routes.ts'
import { Calls } from './server/calls.ts'
import { McpServers } from './server/mcp-servers.ts'
import { TABLE } from './table.ts'

/** The mesh for agents, by the Model Context Protocol. */
export default async function mcp(app: FastifyInstance, context: FunctionContext): Promise<void> {
  const config = parseEnv(mcpConfigSchema, context.env)
  const { log, registry, version } = context
  const { DATABASE_URL: databaseURL, REDIS_URL: redisURL } = config

  const daemon = new DaemonClient({ endpoints: config.BZZZ_ENDPOINT })
  const queue = openQueue({ log }, { databaseURL, redisURL })
  const connectionsMax = DATABASE_CONNECTIONS_MAX
  const database = databaseURL ? openDatabase(databaseURL, { log }, { connectionsMax }) : null
  const rateLimit = redisURL
    ? new RedisRateLimit({ log }, { url: redisURL })
    : new MemoryRateLimit()
  const db = database?.db ?? null
  const threads = db && new Threads({ daemon, db })
  const services = { daemon, queue, db, threads }

  const publicURL = config.BZZZ_MCP_PUBLIC_URL
  const hosts = [...config.BZZZ_MCP_ALLOWED_HOSTS, new URL(publicURL).hostname]
  const origins = config.BZZZ_MCP_ALLOWED_ORIGINS
  app.addHook('onRequest', async (request) => checkOrigin(request, { hosts, origins }))
  app.addHook('onClose', async () => {
    await Promise.all([daemon.close(), queue?.close(), database?.close(), rateLimit.close()])
  })
  context.ready('daemon', (signal) => daemon.isReady(signal))
  const { audit } = await registerAccess(app, context)

  const conformance = config.BZZZ_MCP_CONFORMANCE
    ? withConformance(TABLE, {
        notify: {
          toolsChanged: () => handler.notify.toolsChanged(),
          promptsChanged: () => handler.notify.promptsChanged(),
        },
      })
    : null
  const surface = new Surface(conformance?.table ?? TABLE)
  const metrics = new McpMetrics({ registry })
  const calls = new Calls(
    { surface, services, rateLimit, metrics, log, audit },
    { callsPerMinuteMax: config.BZZZ_MCP_TOOL_RPM },
  )
  const servers = new McpServers({ calls }, { version, ...conformance?.servers })
  const handler = createMcpHandler(
    ({ authInfo, era }) => servers.create(exchangeOf(authInfo), era),
    {
      maxRequestBodySize: MESSAGE_BYTES_MAX,
      maxSubscriptions: SUBSCRIPTIONS_MAX,
      onerror: (error) => log.debug({ err: error }, 'message refused'),
    },
  )
  app.addHook('onClose', () => handler.close())
  const { BZZZ_MCP_AUTHORIZATION_SERVERS: authorizationServers } = config
  await app.register(mcpRoutes, {
    ...{ handler, surface, calls, audit, publicURL, authorizationServers },
  })
}
