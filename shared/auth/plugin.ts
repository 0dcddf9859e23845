import type { FastifyInstance, FastifyRequest } from 'fastify'
import fastifyPlugin from 'fastify-plugin'
import { LRUCache } from 'lru-cache'

import { projectMatches } from '../address/project-pattern.ts'
import { ScopeMissingError, TokenMissingError, TokenRevokedError } from '../errors.ts'
import type { Scope } from './scopes.ts'
import type { TokenClaims, TokenVerifier } from './token.ts'

/** Verified tokens remembered, so that a busy agent does not cost a signature check a request. */
const VERIFIED_TOKENS_MAX = 10_000

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The scope a caller needs. A route names one or is `public`; anything else fails at start. */
    scope?: Scope
    public?: boolean
  }
  interface FastifyRequest {
    /** Null on public routes only. */
    claims: TokenClaims | null
    /** The bearer token as it came, to be passed on to the next hop under the same rights. */
    token: string | null
  }
}

export interface AuthComponents {
  verify: TokenVerifier
  /** Revoked token ids. Answers from its list, at once where it has one; never throws. */
  isRevoked?: (tokenId: string) => boolean | Promise<boolean>
}

async function auth(app: FastifyInstance, { verify, isRevoked }: AuthComponents): Promise<void> {
  const verified = new LRUCache<string, TokenClaims>({ max: VERIFIED_TOKENS_MAX })
  app.decorateRequest('claims', null)
  app.decorateRequest('token', null)

  app.addHook('onRoute', (route) => {
    if (!route.config?.scope && !route.config?.public) {
      throw new Error(`Route ${route.url} names no scope.`)
    }
  })

  // Callbacks: a token seen before costs a look into a map and no turn of the event loop.
  app.addHook('onRequest', (request, _reply, done) => {
    const { scope, public: isPublic } = request.routeOptions.config
    if (isPublic || request.is404) return done()
    try {
      const token = bearerOf(request)
      const claims = remembered(token)
      const revoked = claims && isRevoked ? isRevoked(claims.id) : false
      if (claims && revoked === false) {
        admit(request, token, claims, scope)
        return done()
      }
      checkSlowly(token)
        .then((verifiedClaims) => admit(request, token, verifiedClaims, scope))
        .then(() => done(), done)
    } catch (error) {
      done(error as Error)
    }
  })

  function remembered(token: string): TokenClaims | undefined {
    const claims = verified.get(token)
    return claims && claims.expiresAt * 1000 > Date.now() ? claims : undefined
  }

  async function checkSlowly(token: string): Promise<TokenClaims> {
    const claims = remembered(token) ?? (await verify(token))
    verified.set(token, claims)
    if (await isRevoked?.(claims.id)) throw new TokenRevokedError('The token has been revoked.')
    return claims
  }
}

function admit(
  request: FastifyRequest,
  token: string,
  claims: TokenClaims,
  scope: Scope | undefined,
): void {
  if (scope && !claims.scopes.includes(scope)) {
    throw new ScopeMissingError(`The token lacks the scope ${scope}.`)
  }
  request.claims = claims
  request.token = token
}

function bearerOf(request: FastifyRequest): string {
  const header = request.headers.authorization ?? ''
  const match = /^Bearer +(\S+)$/i.exec(header)
  if (!match) {
    throw new TokenMissingError('The request carries no token: send "Authorization: Bearer ...".')
  }
  return match[1]!
}

/** Registered once on every Fastify instance that serves callers. */
export const authPlugin = fastifyPlugin(auth, { name: 'bzzz-auth', fastify: '5.x' })

/** @throws ScopeMissingError unless the caller's token covers `project`. */
export function requireProject(request: FastifyRequest, project: string): void {
  const patterns = request.claims?.projects ?? []
  const covered = patterns.some((pattern) => projectMatches(pattern, project))
  if (!covered) throw new ScopeMissingError(`The token does not cover the project ${project}.`)
}
