import { randomUUID } from 'node:crypto'

import fastify, {
  LogController,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify'

import type { Logger } from '../log/log.ts'
import type { Registry } from '../metrics/metrics.ts'
import { JSON_BODY_BYTES_MAX } from '../limits.ts'
import { RouteNotFoundError } from '../errors.ts'
import { boundConnections } from './connections.ts'
import { STATUS_CALLER_LEFT, toWireError } from './wire-error.ts'

/** A request id from outside is kept when it looks like one; anything else is replaced. */
const REQUEST_ID_PATTERN = /^[A-Za-z0-9_.-]{8,128}$/

/** Header blocks beyond this are refused with 431 by Node before a route sees them. */
const HEADER_BYTES_MAX = 32 * 1024

/** A client has this long to send its headers; slow ones do not hold a connection for free. */
const HEADERS_TIMEOUT_MS = 20_000

/** How often that is looked at. */
const HEADERS_CHECK_MS = 5000

/** Idle keep-alive connections are closed after this; longer than usual client pools wait. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000

/** What every HTTP server of bzzz is created with, also one that Fastify does not own. */
export const HTTP_SERVER_OPTIONS = {
  maxHeaderSize: HEADER_BYTES_MAX,
  headersTimeout: HEADERS_TIMEOUT_MS,
  connectionsCheckingInterval: HEADERS_CHECK_MS,
  keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
  // An upload may take hours; what bounds it is its size, and connections.ts.
  requestTimeout: 0,
} as const

export interface ServiceComponents {
  log: Logger
  registry: Registry
}

export interface ServiceInit {
  /** Can it do its work now? The detail is shown in the answer of /readyz. */
  ready?: () => Promise<{ ready: boolean; detail?: Record<string, unknown> }>
  /** Paths of the health routes; functions use OpenFaaS's names beside these. */
  healthPaths?: readonly string[]
  readyPaths?: readonly string[]
  /** Off where another listener shows the metrics. */
  metricsPath?: string | false
}

/**
 * A Fastify instance as every process of bzzz serves it: request ids, the wire error family,
 * health, readiness and metrics. Routes are the caller's.
 */
export function createService(
  { log, registry }: ServiceComponents,
  init: ServiceInit = {},
): FastifyInstance {
  const app = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    // Few requests write a line; those that do name the request themselves.
    childLoggerFactory: (logger) => logger,
    bodyLimit: JSON_BODY_BYTES_MAX,
    requestIdHeader: false,
    genReqId: (request) => requestIdOf(request.headers['request-id']),
    http: HTTP_SERVER_OPTIONS,
    keepAliveTimeout: HTTP_SERVER_OPTIONS.keepAliveTimeout,
    requestTimeout: HTTP_SERVER_OPTIONS.requestTimeout,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: HEADER_BYTES_MAX },
    frameworkErrors: (error, request, reply) => void sendError(error, request, reply),
  }) as unknown as FastifyInstance
  boundConnections(app.server)
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('request-id', request.id)
    done()
  })
  app.setErrorHandler((error, request, reply) => sendError(error, request, reply))
  app.setNotFoundHandler((request, reply) =>
    sendError(new RouteNotFoundError('There is no such route.'), request, reply),
  )
  addHealthRoutes(app, init)
  if (init.metricsPath !== false) {
    app.get(init.metricsPath ?? '/metrics', PUBLIC, async (_request, reply) => {
      reply.type(registry.contentType)
      return registry.metrics()
    })
  }
  return app
}

/** Marks a route that needs no token; `shared/auth/plugin.ts` lets it through. */
export const PUBLIC = { config: { public: true } } as const

function requestIdOf(given: string | string[] | undefined): string {
  return typeof given === 'string' && REQUEST_ID_PATTERN.test(given) ? given : randomUUID()
}

function addHealthRoutes(app: FastifyInstance, init: ServiceInit): void {
  for (const path of init.healthPaths ?? ['/healthz']) {
    app.get(path, PUBLIC, async () => ({ alive: true }))
  }
  for (const path of init.readyPaths ?? ['/readyz']) {
    app.get(path, PUBLIC, async (_request, reply) => {
      const state = (await init.ready?.()) ?? { ready: true }
      reply.code(state.ready ? 200 : 503)
      return { ready: state.ready, ...state.detail }
    })
  }
}

/** Answers that no operator has to mend: what is not done here (501), a full quota (507). */
const EXPECTED = [501, 507]

/** Sends any thrown value as the wire family. Faults of the server are logged here, once. */
export async function sendError(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const wire = toWireError(error, request.id)
  const { code, requestId } = wire.body.error
  if (wire.status >= 500 && !EXPECTED.includes(wire.status)) {
    request.log.error({ err: error, code, requestId }, 'request failed')
  }
  if (wire.status === STATUS_CALLER_LEFT) request.log.debug({ code }, 'caller left')
  // Set again: an error of the framework itself comes here without having passed a hook.
  reply.header('request-id', request.id).headers(wire.headers)
  const body = request.routeOptions.config.errorBody?.(wire) ?? wire.body
  return reply.code(wire.status).type('application/json').send(body)
}
