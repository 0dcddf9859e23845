import { createPrivateKey, generateKeyPairSync, randomUUID, type KeyObject } from 'node:crypto'
import { chmod, link, mkdir, open, readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'

import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'

import { InvalidConfigError } from '../../shared/errors.ts'

/** Who a node is: the same Ed25519 key proves its connections and signs its records. */
export interface NodeKey {
  readonly peerId: string
  /** For libp2p. */
  readonly privateKey: PrivateKey
  /** For `signRecord`. */
  readonly signingKey: KeyObject
}

/** A fresh identity that is written nowhere. */
export function createNodeKey(): NodeKey {
  return fromKeyObject(generateKeyPairSync('ed25519').privateKey)
}

/**
 * The node's key from `<dataDir>/config/node.key` (PKCS #8 PEM, mode 0600), made at the first
 * start. Of two processes that start at once one makes it and both use it. A crash leaves at most
 * a temporary file beside it, never half a key.
 * @throws InvalidConfigError when the file holds anything but an Ed25519 key
 */
export async function loadNodeKey(dataDir: string): Promise<NodeKey> {
  const path = join(dataDir, 'config', 'node.key')
  const pem = (await readIfThere(path)) ?? (await createKeyFile(path))
  // A copy restored from a backup may have come back readable for everyone.
  await chmod(path, 0o600)
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch (error) {
    throw new InvalidConfigError(`${path} does not hold a private key.`, { cause: error })
  }
  if (key.asymmetricKeyType !== 'ed25519') {
    throw new InvalidConfigError(`${path} holds a key that is not Ed25519.`)
  }
  return fromKeyObject(key)
}

async function createKeyFile(path: string): Promise<string> {
  const { privateKey } = generateKeyPairSync('ed25519')
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  await mkdir(dirname(path), { recursive: true })
  const temporary = `${path}.${randomUUID()}`
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(pem)
    await file.sync()
  } finally {
    await file.close()
  }
  try {
    // Unlike a rename, a link never replaces the key that another process just made.
    await link(temporary, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await rm(temporary, { force: true })
  }
  await syncFolder(dirname(path))
  return readFile(path, 'utf8')
}

/** Without it a power cut may take the new name away, and with it the node's identity. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function fromKeyObject(signingKey: KeyObject): NodeKey {
  const { d, x } = signingKey.export({ format: 'jwk' })
  // libp2p's raw Ed25519 key is the seed followed by the public key.
  const raw = Buffer.concat([Buffer.from(d ?? '', 'base64url'), Buffer.from(x ?? '', 'base64url')])
  const privateKey = privateKeyFromRaw(raw)
  return { peerId: peerIdFromPrivateKey(privateKey).toString(), privateKey, signingKey }
}
