import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { decodeJwt, type JSONWebKeySet, type JWK } from 'jose'

import {
  createToken,
  createTokenKey,
  TOKEN_PREFIX,
  type TokenRequest,
} from '../../shared/auth/token.ts'

export interface TestTokens {
  keysFile: string
  privateKey: JWK
  publicKeys: JSONWebKeySet
  idOf(token: string): string
  /** A token of that role; admin for every project unless told otherwise. */
  create(request?: Partial<TokenRequest>): Promise<string>
}

/** A cluster's token keys in `dir`, and tokens signed with them. */
export async function createTestTokens(dir: string): Promise<TestTokens> {
  const { privateKey, publicKeys } = await createTokenKey()
  const keysFile = join(dir, 'token-keys.json')
  writeFileSync(keysFile, JSON.stringify(publicKeys))
  return {
    keysFile,
    privateKey,
    publicKeys,
    idOf: (token) => String(decodeJwt(token.slice(TOKEN_PREFIX.length)).jti),
    create: (request = {}) =>
      createToken(privateKey, {
        subject: 'test',
        role: 'admin',
        lifetimeSeconds: 600,
        ...request,
      }),
  }
}
