import { randomUUID } from 'node:crypto'

import {
  createLocalJWKSet,
  errors,
  exportJWK,
  generateKeyPair,
  importJWK,
  jwtVerify,
  SignJWT,
  type JSONWebKeySet,
  type JWK,
} from 'jose'
import { z } from 'zod'

import { InvalidRequestError, TokenExpiredError, TokenInvalidError } from '../errors.ts'
import { grantedScopes, isRole, type Role, type Scope } from './scopes.ts'

/** Tokens are recognisable in a leaked file by this prefix; the rest is a compact JWS. */
export const TOKEN_PREFIX = 'bzzz_'

export const ISSUER = 'bzzz'
export const ALGORITHM = 'EdDSA'

/** Longest token looked at. A JWS with a dozen scopes and projects is below 2 KiB. */
const TOKEN_CHARS_MAX = 8192

/** Nodes of a team drift; a token is not refused for a clock that is this far off. */
const CLOCK_TOLERANCE_SECONDS = 30

/** A revocation of a token of unknown end is kept this long, so no token may live longer. */
export const TOKEN_LIFETIME_SECONDS_MAX = 400 * 86_400

export interface TokenClaims {
  /** Names the token in revocations and audit rows. */
  id: string
  subject: string
  role: Role
  scopes: readonly Scope[]
  /** Patterns of project labels: `*`, `apollo`, `apollo-*`. */
  projects: readonly string[]
  /** Resources that it was made for and no others; absent for every service of the cluster. */
  audiences?: readonly string[]
  /** Seconds since the epoch: its own end, or that of its key when that comes first. */
  expiresAt: number
}

/** A public key that was replaced ends at `exp`, in seconds since the epoch. */
export type PublicKey = JWK & { kid: string; exp?: number }

const payloadSchema = z.object({
  jti: z.string().min(1).max(64),
  sub: z.string().min(1).max(255),
  role: z.string().refine(isRole),
  scopes: z.array(z.string()).max(64).optional(),
  projects: z.array(z.string().max(128)).max(64),
  exp: z.number().int(),
  aud: z.union([z.string().max(2048), z.array(z.string().max(2048)).max(16)]).optional(),
})

/** Makes the cluster's token key pair: the private key signs, the public one travels to nodes. */
export async function createTokenKey(): Promise<{ privateKey: JWK; publicKeys: JSONWebKeySet }> {
  const pair = await generateKeyPair(ALGORITHM, { crv: 'Ed25519', extractable: true })
  const kid = randomUUID()
  const common = { kid, alg: ALGORITHM, use: 'sig' }
  return {
    privateKey: { ...(await exportJWK(pair.privateKey)), ...common },
    publicKeys: { keys: [{ ...(await exportJWK(pair.publicKey)), ...common }] },
  }
}

export interface TokenRequest {
  subject: string
  role: Role
  scopes?: readonly Scope[]
  projects?: readonly string[]
  /** A resource that checks it, such as the URL of the MCP endpoint. */
  audience?: string
  lifetimeSeconds: number
}

/** Signs a token. It is shown once; only its id is kept anywhere. */
export async function createToken(privateKey: JWK, request: TokenRequest): Promise<string> {
  if (request.lifetimeSeconds > TOKEN_LIFETIME_SECONDS_MAX) {
    const days = TOKEN_LIFETIME_SECONDS_MAX / 86_400
    throw new InvalidRequestError(`A token lives for at most ${days} days.`)
  }
  const key = await importJWK(privateKey, ALGORITHM)
  const jwt = new SignJWT({
    role: request.role,
    ...(request.scopes && { scopes: request.scopes }),
    projects: request.projects ?? ['*'],
  })
    .setProtectedHeader({ alg: ALGORITHM, kid: privateKey.kid ?? '' })
    .setIssuer(ISSUER)
    .setSubject(request.subject)
    .setJti(randomUUID())
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1000) + request.lifetimeSeconds)
  if (request.audience !== undefined) jwt.setAudience(request.audience)
  return TOKEN_PREFIX + (await jwt.sign(key))
}

/** Answers at once for a token it has verified before. */
export type TokenVerifier = (token: string) => TokenClaims | Promise<TokenClaims>

/**
 * Verifies offline against the cluster's public keys; nothing else is asked.
 * @throws TokenInvalidError, TokenExpiredError
 */
export function createTokenVerifier(
  publicKeys: JSONWebKeySet,
): (token: string) => Promise<TokenClaims> {
  const keys = createLocalJWKSet(publicKeys)
  return async (token) => {
    if (!token.startsWith(TOKEN_PREFIX) || token.length > TOKEN_CHARS_MAX) {
      throw new TokenInvalidError('The token is not one of this cluster.')
    }
    try {
      const { payload, protectedHeader } = await jwtVerify(token.slice(TOKEN_PREFIX.length), keys, {
        algorithms: [ALGORITHM],
        issuer: ISSUER,
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
      })
      const claims = payloadSchema.parse(payload)
      return {
        id: claims.jti,
        subject: claims.sub,
        role: claims.role as Role,
        scopes: grantedScopes(claims.role as Role, claims.scopes),
        projects: claims.projects,
        ...(claims.aud !== undefined && { audiences: [claims.aud].flat() }),
        expiresAt: Math.min(claims.exp, keyEnd(publicKeys, protectedHeader.kid)),
      }
    } catch (error) {
      if (error instanceof TokenExpiredError) throw error
      if (error instanceof errors.JWTExpired) {
        throw new TokenExpiredError('The token has expired.', { cause: error })
      }
      throw new TokenInvalidError('The token is not one of this cluster.', { cause: error })
    }
  }
}

/** @throws TokenExpiredError when the key was replaced and its time is over */
function keyEnd(publicKeys: JSONWebKeySet, kid: string | undefined): number {
  const key = publicKeys.keys.find((candidate) => candidate.kid === kid) as PublicKey | undefined
  if (!key) throw new TokenInvalidError('The token does not name its key.')
  const end = key.exp ?? Number.POSITIVE_INFINITY
  if (end + CLOCK_TOLERANCE_SECONDS > Date.now() / 1000) return end
  throw new TokenExpiredError('The key that signed the token was replaced: make a new token.')
}
