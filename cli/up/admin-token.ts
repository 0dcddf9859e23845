import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

import { decodeJwt, type JSONWebKeySet, type JWK } from 'jose'

import { DataFolderIncompleteError } from '../../shared/errors.ts'
import {
  createToken,
  createTokenKey,
  createTokenVerifier,
  TOKEN_PREFIX,
} from '../../shared/auth/token.ts'
import { ADMIN_TOKEN_LIFETIME_SECONDS, ADMIN_TOKEN_RENEW_SECONDS } from './constants.ts'
import type { DataLayout } from './data-layout.ts'
import { writeDurable } from './durable-file.ts'

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
  if (existsSync(layout.tokenPrivateKey)) return renew(layout)
  if (secondsLeft > 0) return current.trim()
  throw new DataFolderIncompleteError(
    `${layout.adminToken} is no valid token and ${layout.tokenPrivateKey} is gone: put either back.`,
  )
}

/** The private key is written first: with it the public one can be made again. */
async function makeKeys(layout: DataLayout): Promise<void> {
  const { privateKey, publicKeys } = await createTokenKey()
  await writeDurable(layout.tokenPrivateKey, `${JSON.stringify(privateKey)}\n`, 0o600)
  await writeDurable(layout.tokenPublicKeys, `${JSON.stringify(publicKeys, null, 2)}\n`)
}

async function readPublicKeys(layout: DataLayout): Promise<JSONWebKeySet> {
  if (!existsSync(layout.tokenPublicKeys)) {
    const { d: _private, ...publicKey } = await readPrivateKey(layout)
    const keys = { keys: [publicKey] }
    await writeDurable(layout.tokenPublicKeys, `${JSON.stringify(keys, null, 2)}\n`)
    return keys
  }
  return JSON.parse(await readFile(layout.tokenPublicKeys, 'utf8')) as JSONWebKeySet
}

export async function readPrivateKey(layout: DataLayout): Promise<JWK> {
  return JSON.parse(await readFile(layout.tokenPrivateKey, 'utf8')) as JWK
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

async function renew(layout: DataLayout): Promise<string> {
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
