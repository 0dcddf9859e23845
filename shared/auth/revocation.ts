import {
  createLocalJWKSet,
  importJWK,
  jwtVerify,
  SignJWT,
  type JSONWebKeySet,
  type JWK,
} from 'jose'
import { z } from 'zod'

import { InvalidRequestError } from '../errors.ts'
import { ALGORITHM, ISSUER } from './token.ts'

/** Keeps a statement from passing for a token, and a token for a statement. */
const TYPE = 'bzzz-revocation'

/** A statement with its longest id is a third of this. */
export const STATEMENT_CHARS_MAX = 1024

/**
 * Revocations a cluster keeps at once. A team takes back a few tokens a year; who wants to take
 * back this many rotates the key instead.
 */
export const REVOCATIONS_MAX = 10_000

export interface Revocation {
  tokenId: string
  /** The token is over by itself then, and its revocation need not be kept. */
  expiresMs: number
}

const payloadSchema = z.object({
  jti: z.string().min(1).max(64),
  exp: z.int().positive(),
})

/**
 * Says, signed with a token key, that a token is no good any more. It proves itself, like an entry
 * of a certificate revocation list: whoever carries it, a database, a node, a file, need not be
 * trusted with more than not losing it, and there is nothing secret in it.
 */
export async function signRevocation(privateKey: JWK, revocation: Revocation): Promise<string> {
  return new SignJWT({})
    .setProtectedHeader({ alg: ALGORITHM, kid: privateKey.kid ?? '', typ: TYPE })
    .setIssuer(ISSUER)
    .setJti(revocation.tokenId)
    .setIssuedAt()
    .setExpirationTime(Math.ceil(revocation.expiresMs / 1000))
    .sign(await importJWK(privateKey, ALGORITHM))
}

/**
 * @throws InvalidRequestError for what no key of the cluster signed, and for what is over. A
 * statement outlives no key that it was made with: the tokens it speaks of go with that key too.
 */
export async function verifyRevocation(
  publicKeys: JSONWebKeySet,
  statement: string,
): Promise<Revocation> {
  try {
    if (statement.length > STATEMENT_CHARS_MAX) throw new RangeError('too long')
    const { payload } = await jwtVerify(statement, createLocalJWKSet(publicKeys), {
      algorithms: [ALGORITHM],
      issuer: ISSUER,
      typ: TYPE,
    })
    const { jti, exp } = payloadSchema.parse(payload)
    return { tokenId: jti, expiresMs: exp * 1000 }
  } catch (error) {
    throw new InvalidRequestError('This is no revocation that a key of the cluster signed.', {
      cause: error,
    })
  }
}
