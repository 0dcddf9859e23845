import { readFile, stat } from 'node:fs/promises'

import type { FastifyInstance } from 'fastify'
import type { JSONWebKeySet } from 'jose'
import { z } from 'zod'

import { InvalidConfigError } from '../errors.ts'
import { authPlugin } from './plugin.ts'
import { createTokenVerifier, type TokenVerifier } from './token.ts'

/** A new key is honoured this long after its file changed; every request would pay for less. */
const LOOK_AGAIN_MS = 1000

const keySetSchema = z.object({
  keys: z.array(z.looseObject({ kty: z.string(), kid: z.string() })).min(1),
})

async function load(path: string): Promise<{ verify: TokenVerifier; changedMs: number }> {
  try {
    const { mtimeMs } = await stat(path)
    const keys = keySetSchema.parse(JSON.parse(await readFile(path, 'utf8')))
    return { verify: createTokenVerifier(keys as JSONWebKeySet), changedMs: mtimeMs }
  } catch (error) {
    throw new InvalidConfigError(`The token keys cannot be read from ${path}.`, { cause: error })
  }
}

/**
 * Verifies tokens against the cluster's public keys in a JWKS file, which is read again when it
 * changes: keys rotate without a restart. A change that cannot be read leaves the old keys in use.
 * @throws InvalidConfigError when the first read fails
 */
export async function createKeyFileVerifier(path: string): Promise<TokenVerifier> {
  let current = await load(path)
  let lookedMs = Date.now()

  async function refresh(): Promise<void> {
    lookedMs = Date.now()
    try {
      if ((await stat(path)).mtimeMs !== current.changedMs) current = await load(path)
    } catch {
      // The file is being replaced, or is gone: good tokens must not fail for that.
    }
  }

  return async (token) => {
    if (Date.now() - lookedMs >= LOOK_AGAIN_MS) await refresh()
    return current.verify(token)
  }
}

/** What a handler calls first: every route registered after it needs a token or is `public`. */
export async function registerAuth(
  app: FastifyInstance,
  keysFile: string,
  isRevoked?: (tokenId: string) => boolean | Promise<boolean>,
): Promise<void> {
  const verify = await createKeyFileVerifier(keysFile)
  await app.register(authPlugin, isRevoked ? { verify, isRevoked } : { verify })
}
