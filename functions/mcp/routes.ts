import {
  PROTOCOL_VERSION_META_KEY,
  type AuthInfo,
  type McpHttpHandler,
} from '@modelcontextprotocol/server'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

import { SCOPES } from '../../shared/auth/scopes.ts'
import type { Auditor } from '../../shared/auth/audited.ts'
import { TokenInvalidError, TokenMissingError } from '../../shared/errors.ts'
import { PUBLIC } from '../../shared/http/service.ts'
import { readSelection } from './access/selection.ts'
import type { Surface } from './access/surface.ts'
import { MCP_PATH, MESSAGE_BYTES_MAX } from './constants.ts'
import { refuseBatch, refuseScope, sendRefusal } from './http/refusals.ts'
import { metadataPath, metadataURL, resourceMetadata } from './http/resource-metadata.ts'
import { sendWebResponse, toWebRequest } from './http/web-exchange.ts'
import type { Calls } from './server/calls.ts'
import type { Exchange } from './server/exchange.ts'
import type { Caller } from './services.ts'

export interface McpRoutesOptions {
  handler: McpHttpHandler
  surface: Surface
  calls: Calls
  audit: Auditor | undefined
  publicURL: string
  authorizationServers: readonly string[]
}

/** `POST /mcp`, 405 for other methods, and the metadata of the protected resource. */
export async function mcpRoutes(app: FastifyInstance, options: McpRoutesOptions): Promise<void> {
  const { publicURL, authorizationServers, audit } = options
  app.setErrorHandler((error, request, reply) => sendRefusal(error, request, reply, publicURL))
  // Calls write their own rows; what comes with no good token gets no further than this.
  app.addHook('onResponse', (request, reply, done) => {
    const isStranger = reply.statusCode === 401 && request.method === 'POST'
    if (isStranger && audit && hasRoom(audit)) audit.record(strangerOf(request))
    done()
  })

  const post = {
    config: { anyScope: true as const, audit: false as const },
    bodyLimit: MESSAGE_BYTES_MAX,
  }
  app.post(MCP_PATH, post, (request, reply) => serve(options, request, reply))
  const others = ['GET', 'DELETE', 'PUT', 'PATCH', 'OPTIONS']
  app.route({
    method: others,
    url: MCP_PATH,
    ...PUBLIC,
    handler: (_, reply) => refuseMethod(reply),
  })

  const metadata = resourceMetadata(publicURL, { scopes: SCOPES, authorizationServers })
  const paths = [metadataPath(MCP_PATH), new URL(metadataURL(publicURL)).pathname]
  for (const path of new Set(paths)) app.get(path, PUBLIC, async () => metadata)
}

async function serve(
  { handler, surface, calls, publicURL }: McpRoutesOptions,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const caller = callerOf(request)
  requireAudience(caller, publicURL)
  const body = request.body as { method?: unknown; params?: unknown } | null
  if (Array.isArray(body)) return refuseBatch(reply)
  const { claims, requestId } = caller
  const selection = readSelection({
    query: request.query as object & Record<string, unknown>,
    headers: request.headers,
  })
  const exchange: Exchange = { caller, view: surface.view(claims.scopes, selection) }

  const asked = typeof body?.method === 'string' ? surface.asked(body.method, body.params) : null
  if (asked?.scope && !claims.scopes.includes(asked.scope)) {
    const { name, args, uri } = namesOf(body?.params)
    const era = isModern(body?.params) ? ('modern' as const) : ('legacy' as const)
    calls.refuse(exchange, era, { asked, resource: uri ?? name ?? '', args: args ?? null })
    return refuseScope(reply, { scope: asked.scope, requestId, publicURL })
  }
  const response = await handler.fetch(toWebRequest(request), {
    parsedBody: body,
    authInfo: authInfoOf(exchange, publicURL),
  })
  return sendWebResponse(reply, response)
}

/** The newer revision says in each message which one it is. */
function isModern(params: unknown): boolean {
  const { _meta: meta } = (params ?? {}) as { _meta?: Record<string, unknown> | null }
  return typeof meta?.[PROTOCOL_VERSION_META_KEY] === 'string'
}

function namesOf(params: unknown): { name?: string; uri?: string; args?: unknown } {
  const { name, uri, arguments: args } = (params ?? {}) as Record<string, unknown>
  return {
    ...(typeof name === 'string' && { name }),
    ...(typeof uri === 'string' && { uri }),
    ...(args !== undefined && { args }),
  }
}

function callerOf(request: FastifyRequest): Caller {
  const { claims, token, id, socket } = request
  if (!claims || token === null) throw new TokenMissingError('The request carries no token.')
  return { claims, token, requestId: id, remote: socket.remoteAddress ?? '' }
}

/** How an exchange travels through the SDK to the factory of its server. */
export function exchangeOf(authInfo: AuthInfo | undefined): Exchange {
  const exchange = authInfo?.extra?.['exchange'] as Exchange | undefined
  if (!exchange) throw new Error('A server was asked for without an exchange.')
  return exchange
}

function authInfoOf(exchange: Exchange, publicURL: string): AuthInfo {
  const { claims, token } = exchange.caller
  return {
    token,
    clientId: claims.subject,
    scopes: [...claims.scopes],
    expiresAt: claims.expiresAt,
    resourceMetadataUrl: metadataURL(publicURL),
    extra: { exchange },
  }
}

/**
 * A token that names whom it is for is good for nobody else. One that names nobody is for every
 * service of the cluster that signed it.
 */
function requireAudience({ claims }: Caller, publicURL: string): void {
  const { audiences } = claims
  if (audiences === undefined || audiences.includes(publicURL)) return
  throw new TokenInvalidError('The token was made for another resource.')
}

/** A stranger must not fill what the rows of others need. */
function hasRoom(audit: Auditor): boolean {
  try {
    audit.assertRoom()
    return true
  } catch {
    return false
  }
}

function strangerOf(request: FastifyRequest): Parameters<Auditor['record']>[0] {
  const { method, url, id, socket, claims } = request
  return {
    actor: claims?.subject ?? '',
    tokenId: claims?.id ?? '',
    remote: socket.remoteAddress ?? '',
    action: `${method} ${MCP_PATH}`,
    resource: url,
    outcome: 'deny',
    status: 401,
    requestId: id,
    argumentsHash: '',
  }
}

function refuseMethod(reply: FastifyReply): FastifyReply {
  reply.code(405).header('allow', 'POST').type('application/json')
  const error = { code: -32_000, message: 'Method not allowed: messages are sent by POST.' }
  return reply.send({ jsonrpc: '2.0', id: null, error })
}
