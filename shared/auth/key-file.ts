import { readFile, stat } from 'node:fs/promises'

import type { JSONWebKeySet } from 'jose'
import { LRUCache } from 'lru-cache'
import { z } from 'zod'

import { InvalidConfigError } from '../errors.ts'
import { createTokenVerifier, type TokenClaims, type TokenVerifier } from './token.ts'

/** A new key is honoured this long after its file changed; every request would pay for less. */
const LOOK_AGAIN_MS = 1000

/** Verified tokens remembered, so that a busy agent does not cost a signature check a request. */
const VERIFIED_TOKENS_MAX = 10_000

/** Each rotation adds one and drops those whose time is over. */
const KEYS_MAX = 32

const keySetSchema = z.object({
  keys: z
    .array(z.looseObject({ kty: z.string(), kid: z.string(), exp: z.int().optional() }))
    .min(1)
    .max(KEYS_MAX),
})

interface Keys {
  verify: (token: string) => Promise<TokenClaims>
  /** What these keys verified: gone with them, so that a key taken out counts at once. */
  verified: LRUCache<string, TokenClaims>
  version: string
}

/** Changes with every write, also with one that gives the new file the old one's time. */
async function versionOf(path: string): Promise<string> {
  const { mtimeMs, ino, size } = await stat(path)
  return `${mtimeMs} ${ino} ${size}`
}

async function load(path: string): Promise<Keys> {
  // Looked at first: what changes while it is read is read again.
  const version = await versionOf(path).catch(() => '')
  return {
    verify: createTokenVerifier(await readTokenKeys(path)),
    verified: new LRUCache<string, TokenClaims>({ max: VERIFIED_TOKENS_MAX }),
    version,
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
      if ((await versionOf(path)) !== current.version) current = await load(path)
    } catch {
      // The file is being replaced, or is gone: good tokens must not fail for that.
    }
  }

  function check(token: string): TokenClaims | Promise<TokenClaims> {
    const { verify, verified } = current
    const known = verified.get(token)
    if (known && known.expiresAt * 1000 > Date.now()) return known
    return verify(token).then((claims) => {
      verified.set(token, claims)
      return claims
    })
  }

  return (token) =>
    Date.now() - lookedMs >= LOOK_AGAIN_MS ? refresh().then(() => check(token)) : check(token)
}

/** The keys as they stand in the file now. @throws InvalidConfigError */
export async function readTokenKeys(path: string): Promise<JSONWebKeySet> {
  try {
    return keySetSchema.parse(JSON.parse(await readFile(path, 'utf8'))) as JSONWebKeySet
  } catch (error) {
    throw new InvalidConfigError(`The token keys cannot be read from ${path}.`, { cause: error })
  }
}
