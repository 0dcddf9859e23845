import { createHmac } from 'node:crypto'

import fc from 'fast-check'
import { base64url, importJWK, SignJWT, UnsecuredJWT, type JWK } from 'jose'
import { beforeAll, describe, expect, it } from 'vitest'

import { ROLES, SCOPES } from '../../../shared/auth/scopes.ts'
import {
  createToken,
  createTokenKey,
  createTokenVerifier,
  TOKEN_LIFETIME_SECONDS_MAX,
  TOKEN_PREFIX,
  type TokenClaims,
} from '../../../shared/auth/token.ts'

type Key = Awaited<ReturnType<typeof createTokenKey>>

const REQUEST = { subject: 'ada', role: 'agent', lifetimeSeconds: 600 } as const

let key: Key
let good: string
let verify: (token: string) => Promise<TokenClaims>

beforeAll(async () => {
  key = await createTokenKey()
  good = await createToken(key.privateKey, REQUEST)
  verify = createTokenVerifier(key.publicKeys)
})

/** A token with a payload and a header of the test's own, signed with the cluster's key. */
async function sign(
  payload: Record<string, unknown>,
  header: Record<string, unknown> = {},
  privateKey: JWK = key.privateKey,
): Promise<string> {
  const jwt = await new SignJWT(payload)
    .setProtectedHeader({ alg: 'EdDSA', kid: privateKey.kid!, ...header })
    .sign(await importJWK(privateKey, 'EdDSA'))
  return TOKEN_PREFIX + jwt
}

const soon = () => Math.floor(Date.now() / 1000) + 600

function payload(changes: Record<string, unknown> = {}): Record<string, unknown> {
  const claims = { iss: 'bzzz', jti: 'id-1', sub: 'ada', role: 'agent', projects: ['*'] }
  return { ...claims, exp: soon(), ...changes }
}

const refusal = (code: string) => expect.objectContaining({ code }) as unknown

async function outcome(token: string): Promise<unknown> {
  return verify(token).catch((error: unknown) => error)
}

describe('token', () => {
  it('says who carries it, and what its role may do', async () => {
    expect(await verify(good)).toMatchObject({ subject: 'ada', role: 'agent', projects: ['*'] })
    expect((await verify(good)).scopes).toEqual(ROLES.agent)
  })

  it('grants no scope beyond its role, and none that does not exist', async () => {
    const scopes = ['blob:read', 'node:manage', 'moon:land']
    expect((await verify(await sign(payload({ scopes })))).scopes).toEqual(['blob:read'])
    const all = await sign(payload({ scopes: [...SCOPES] }))
    expect((await verify(all)).scopes).toEqual(ROLES.agent)
  })

  it('lets the scope that stands for all others stand for those of its role', async () => {
    const admin = await sign(payload({ role: 'admin', scopes: ['admin:*'] }))
    expect((await verify(admin)).scopes).toEqual(SCOPES)
  })

  it('is not made for longer than revocations are kept', async () => {
    const lifetimeSeconds = TOKEN_LIFETIME_SECONDS_MAX + 1
    await expect(createToken(key.privateKey, { ...REQUEST, lifetimeSeconds })).rejects.toThrow(
      /at most 400 days/,
    )
  })

  const forged: [string, () => Promise<string> | string][] = [
    ['without a signature', () => TOKEN_PREFIX + new UnsecuredJWT(payload()).encode()],
    ['that says alg none and keeps a signature', () => withHeader({ alg: 'none' })],
    ['whose algorithm is HMAC with the public key as secret', hmacWithPublicKey],
    ['of another cluster', async () => createToken((await createTokenKey()).privateKey, REQUEST)],
    ['of another cluster under our key id', underOurKid],
    ['that brings its own key', bringsItsKey],
    ['that names no key', () => sign(payload(), { kid: undefined })],
    ['of another issuer', () => sign(payload({ iss: 'elsewhere' }))],
    ['without an issuer', () => sign(payload({ iss: undefined }))],
    ['that is not valid yet', () => sign(payload({ nbf: soon() }))],
    ['without an end', () => sign(payload({ exp: undefined }))],
    ['without an id', () => sign(payload({ jti: undefined }))],
    ['of a role there is not', () => sign(payload({ role: 'emperor' }))],
    ['of a role every object has', () => sign(payload({ role: 'constructor' }))],
    ['without projects', () => sign(payload({ projects: undefined }))],
    ['with a header one must understand', withCriticalHeader],
    ['without its prefix', () => good.slice(TOKEN_PREFIX.length)],
    ['that is too long', () => good + 'A'.repeat(10_000)],
  ]

  it.each(forged)('refuses one %s', async (_, forge) => {
    expect(await outcome(await forge())).toEqual(refusal('BZZZ_TOKEN_INVALID'))
  })

  it('refuses one that has ended, beyond what clocks may differ', async () => {
    expect(await outcome(await sign(payload({ exp: soon() - 640 })))).toEqual(
      refusal('BZZZ_TOKEN_EXPIRED'),
    )
    expect(await outcome(await sign(payload({ exp: soon() - 610 })))).toMatchObject({ id: 'id-1' })
  })

  it('refuses whatever is not one, and never fails otherwise', async () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.string({ maxLength: 200 }).map((rest) => TOKEN_PREFIX + rest),
      fc
        .array(fc.base64String({ maxLength: 60 }), { minLength: 1, maxLength: 5 })
        .map((parts) => TOKEN_PREFIX + parts.join('.')),
    )
    await fc.assert(
      fc.asyncProperty(text, async (token) => {
        expect(await outcome(token)).toEqual(refusal('BZZZ_TOKEN_INVALID'))
      }),
    )
  })

  it('refuses a good one with any one character changed', async () => {
    const places = fc.nat({ max: good.length - 2 })
    const characters = fc.constantFrom(...'abcXYZ019_-.')
    await fc.assert(
      fc.asyncProperty(places, characters, async (place, character) => {
        const changed = good.slice(0, place) + character + good.slice(place + 1)
        fc.pre(changed !== good)
        expect(await outcome(changed)).toEqual(refusal('BZZZ_TOKEN_INVALID'))
      }),
    )
  })
})

/** The good token with another header, which its signature does not cover. */
function withHeader(header: Record<string, unknown>): string {
  const [, body, signature] = good.slice(TOKEN_PREFIX.length).split('.')
  const kid = key.privateKey.kid
  return `${TOKEN_PREFIX}${base64url.encode(JSON.stringify({ kid, ...header }))}.${body}.${signature}`
}

async function withCriticalHeader(): Promise<string> {
  const jwt = await new SignJWT(payload())
    .setProtectedHeader({ alg: 'EdDSA', kid: key.privateKey.kid!, crit: ['x'], x: 1 })
    .sign(await importJWK(key.privateKey, 'EdDSA'), { crit: { x: true } })
  return TOKEN_PREFIX + jwt
}

function hmacWithPublicKey(): string {
  const kid = key.privateKey.kid
  const signed = [{ alg: 'HS256', kid }, payload()]
    .map((part) => base64url.encode(JSON.stringify(part)))
    .join('.')
  const secret = base64url.decode(String(key.publicKeys.keys[0]!.x))
  const signature = createHmac('sha256', secret).update(signed).digest('base64url')
  return `${TOKEN_PREFIX}${signed}.${signature}`
}

async function underOurKid(): Promise<string> {
  const { privateKey } = await createTokenKey()
  return createToken({ ...privateKey, kid: key.privateKey.kid! }, REQUEST)
}

async function bringsItsKey(): Promise<string> {
  const { privateKey, publicKeys } = await createTokenKey()
  return sign(payload(), { jwk: publicKeys.keys[0] }, privateKey)
}
