import type { FastifyInstance, FastifyRequest } from 'fastify'
import fastifyPlugin from 'fastify-plugin'

import { projectMatches } from '../address/project-pattern.ts'
import {
  AuthThrottledError,
  ScopeMissingError,
  TokenMissingError,
  TokenRevokedError,
} from '../errors.ts'
import { Counter, type Registry } from '../metrics/metrics.ts'
import { eventOf, isAudited, type Auditor } from './audited.ts'
import { FailureLimit } from './failure-limit.ts'
import { SCOPE_TABLE, type Scope } from './scopes.ts'
import type { TokenClaims, TokenVerifier } from './token.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The scope a caller needs. A route names one or is `public`; anything else fails at start. */
    scope?: Scope
    /** Any good token comes in: the route decides by what is asked of it which scope that needs. */
    anyScope?: true
    public?: boolean
    /** The route tells of all projects or changes something of all: the token must cover them. */
    projects?: 'every'
    /**
     * False where a method that may change something only reads, such as a search by POST;
     * `no-arguments` where they are secret and few enough to be guessed from their hash; `denials`
     * where what was let through is written down in more detail elsewhere.
     */
    audit?: false | 'no-arguments' | 'denials'
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
  registry?: Registry
  /** Told of every answer to what may change something. */
  audit?: Auditor
}

async function auth(app: FastifyInstance, components: AuthComponents): Promise<void> {
  const { verify, isRevoked, audit } = components
  const failures = new FailureLimit()
  const refused = components.registry && createCounter(components.registry)
  app.decorateRequest('claims', null)
  app.decorateRequest('token', null)

  app.addHook('onRoute', (route) => {
    const { scope, anyScope, public: isPublic } = route.config ?? {}
    if (!scope && !anyScope && !isPublic) {
      throw new Error(`Route ${route.url} names no scope.`)
    }
  })

  if (audit) {
    app.addHook('onResponse', (request, reply, done) => {
      // What was turned away unheard (no room, too many failures) is counted and not written down.
      const heard = request.claims !== null || reply.statusCode === 401
      if (heard && isAudited(request, reply.statusCode)) audit.record(eventOf(request, reply))
      done()
    })
  }

  // Callbacks: a token seen before costs a look into a map and no turn of the event loop.
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.routeOptions.config.public || request.is404) return done()
    try {
      if (audit && isAudited(request)) audit.assertRoom()
      const token = bearerOf(request)
      const claims = verify(token)
      const revoked = claims instanceof Promise ? undefined : (isRevoked?.(claims.id) ?? false)
      if (!(claims instanceof Promise) && revoked === false) {
        admit(request, token, claims)
        return done()
      }
      checkSlowly(claims, revoked)
        .then((verified) => admit(request, token, verified))
        .then(
          () => done(),
          (error: Error) => done(refuse(request, error)),
        )
    } catch (error) {
      done(refuse(request, error as Error))
    }
  })

  async function checkSlowly(
    verifying: TokenClaims | Promise<TokenClaims>,
    asked: boolean | Promise<boolean> | undefined,
  ): Promise<TokenClaims> {
    const claims = await verifying
    const revoked = await (asked ?? isRevoked?.(claims.id) ?? false)
    if (revoked) throw new TokenRevokedError('The token has been revoked.')
    return claims
  }

  /** What the caller is told: the reason, or, after too many failures, only when to come back. */
  function refuse(request: FastifyRequest, error: Error): Error {
    const code = 'code' in error ? String(error.code) : 'BZZZ_INTERNAL'
    refused?.inc({ code })
    // A good token that asks for too much guesses nothing.
    if (!code.startsWith('BZZZ_TOKEN_')) return error
    const waitSeconds = failures.count(request.socket.remoteAddress ?? '')
    if (waitSeconds === 0) return error
    return new AuthThrottledError('Too many tokens from this address were refused.', waitSeconds)
  }
}

function createCounter(registry: Registry): Counter<'code'> {
  return new Counter({
    name: 'bzzz_auth_refused_total',
    help: 'Requests refused for their token, its scope or its project, by the code of the reason',
    labelNames: ['code'],
    registers: [registry],
  })
}

function admit(request: FastifyRequest, token: string, claims: TokenClaims): void {
  const { scope, projects } = request.routeOptions.config
  // Set first: also a refusal is written down under the caller's name.
  request.claims = claims
  request.token = token
  if (scope) requireScope(request, scope)
  const everyProject = projects === 'every' || (scope && SCOPE_TABLE[scope].everyProject)
  if (everyProject && !claims.projects.includes('*')) {
    throw new ScopeMissingError('The token is limited to some projects and this concerns all.')
  }
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

/** Of a route that takes more than the scope it names. @throws ScopeMissingError */
export function requireScope(request: FastifyRequest, scope: Scope): void {
  if (request.claims?.scopes.includes(scope)) return
  throw new ScopeMissingError(`The token lacks the scope ${scope}.`)
}

/** @throws ScopeMissingError unless the caller's token covers `project`. */
export function requireProject(request: FastifyRequest, project: string): void {
  const patterns = request.claims?.projects ?? []
  const covered = patterns.some((pattern) => projectMatches(pattern, project))
  if (!covered) throw new ScopeMissingError(`The token does not cover the project ${project}.`)
}
