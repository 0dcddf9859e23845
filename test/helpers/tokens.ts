import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { createToken, createTokenKey, type TokenRequest } from '../../shared/auth/token.ts'

export interface TestTokens {
  keysFile: string
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
    create: (request = {}) =>
      createToken(privateKey, {
        subject: 'test',
        role: 'admin',
        lifetimeSeconds: 600,
        ...request,
      }),
  }
}
