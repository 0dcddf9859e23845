import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

import { decodeJwt, type JSONWebKeySet } from 'jose'

import { DataFolderIncompleteError } from '../../shared/errors.ts'
import { createToken, createTokenVerifier, TOKEN_PREFIX } from '../../shared/auth/token.ts'
import { ADMIN_TOKEN_LIFETIME_SECONDS, ADMIN_TOKEN_RENEW_SECONDS } from './constants.ts'
import type { DataLayout } from './data-layout.ts'
import { writeDurable } from './durable-file.ts'
import { makeKeys, readPrivateKey, readPublicKeys } from './token-keys.ts'

/**
 * Returns a token that is good for at least another month, making what is missing. The private key
 * may have been taken elsewhere; then the token that is there must do.
 * @throws DataFolderIncompleteError when neither a usable token nor the key for a new one is left
 */
export async function ensureAdminToken(layout: DataLayout): Promise<string> {
  if (!existsSync(layout.tokenPublicKeys) && !existsSync(layout.tokenPrivateKey)) {
    await makeKeys(layout)
  }
  const publicKeys = await readPublicKeys(layout)
  const current = await readFile(layout.adminToken, 'utf8').catch(() => '')
  const secondsLeft = await lifetimeLeft(current.trim(), publicKeys)
  if (secondsLeft > ADMIN_TOKEN_RENEW_SECONDS) return current.trim()
  if (existsSync(layout.tokenPrivateKey)) return renewAdminToken(layout)
  if (secondsLeft > 0) return current.trim()
  throw new DataFolderIncompleteError(
    `${layout.adminToken} is no valid token and ${layout.tokenPrivateKey} is gone: put either back.`,
  )
}

/** Seconds until the token expires; 0 for one that is not good. */
async function lifetimeLeft(token: string, publicKeys: JSONWebKeySet): Promise<number> {
  try {
    const { expiresAt } = await createTokenVerifier(publicKeys)(token)
    return expiresAt - Date.now() / 1000
  } catch {
    return 0
  }
}

/** Another admin token, signed with the key of now, in place of the one in the data folder. */
export async function renewAdminToken(layout: DataLayout): Promise<string> {
  const token = await createToken(await readPrivateKey(layout), {
    subject: 'admin',
    role: 'admin',
    lifetimeSeconds: ADMIN_TOKEN_LIFETIME_SECONDS,
  })
  await writeDurable(layout.adminToken, `${token}\n`, 0o600)
  return token
}

/** The claims as they stand in the token, whether or not it is good. */
export function readClaims(token: string): Record<string, unknown> {
  return decodeJwt(token.startsWith(TOKEN_PREFIX) ? token.slice(TOKEN_PREFIX.length) : token)
}
