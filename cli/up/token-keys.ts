import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'

import type { JSONWebKeySet, JWK } from 'jose'

import { createTokenKey, type PublicKey } from '../../shared/auth/token.ts'
import type { DataLayout } from './data-layout.ts'
import { writeDurable } from './durable-file.ts'

/** Makes the first keys. The private one is written first: from it the public one can be made. */
export async function makeKeys(layout: DataLayout): Promise<void> {
  const { privateKey, publicKeys } = await createTokenKey()
  await writePrivateKey(layout, privateKey)
  await writePublicKeys(layout, publicKeys)
}

export async function readPublicKeys(layout: DataLayout): Promise<JSONWebKeySet> {
  if (!existsSync(layout.tokenPublicKeys)) {
    const { d: _private, ...publicKey } = await readPrivateKey(layout)
    const keys = { keys: [publicKey] }
    await writePublicKeys(layout, keys)
    return keys
  }
  return JSON.parse(await readFile(layout.tokenPublicKeys, 'utf8')) as JSONWebKeySet
}

export async function readPrivateKey(layout: DataLayout): Promise<JWK> {
  return JSON.parse(await readFile(layout.tokenPrivateKey, 'utf8')) as JWK
}

export interface Rotation {
  kid: string
  /** Public keys that tokens are still verified with, and until when. */
  replaced: { kid: string; until: Date }[]
}

/**
 * Signs with a new key from now on. Tokens of the keys before are good for `overlapSeconds` more;
 * a key that was replaced earlier keeps its end. The public keys are written first: a crash in
 * between leaves one among them that nothing was signed with.
 */
export async function rotateKeys(layout: DataLayout, overlapSeconds: number): Promise<Rotation> {
  const { privateKey, publicKeys } = await createTokenKey()
  const nowSeconds = Math.floor(Date.now() / 1000)
  const before = (await readPublicKeys(layout)).keys as PublicKey[]
  const replaced = before
    .map((key) => ({ ...key, exp: Math.min(key.exp ?? Infinity, nowSeconds + overlapSeconds) }))
    .filter(({ exp }) => exp > nowSeconds)
  await writePublicKeys(layout, { keys: [...publicKeys.keys, ...replaced] })
  await writePrivateKey(layout, privateKey)
  return {
    kid: String(privateKey.kid),
    replaced: replaced.map(({ kid, exp }) => ({ kid, until: new Date(exp * 1000) })),
  }
}

async function writePrivateKey(layout: DataLayout, key: JWK): Promise<void> {
  await writeDurable(layout.tokenPrivateKey, `${JSON.stringify(key)}\n`, 0o600)
}

async function writePublicKeys(layout: DataLayout, keys: JSONWebKeySet): Promise<void> {
  await writeDurable(layout.tokenPublicKeys, `${JSON.stringify(keys, null, 2)}\n`)
}
