import { createHash } from 'node:crypto'

import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { create as createMultihash } from 'multiformats/hashes/digest'
import { sha256 } from 'multiformats/hashes/sha2'

import { hashBytes, isHash, parseHash } from '../../shared/blob/hash.ts'
import { InvalidRequestError } from '../../shared/errors.ts'
import {
  CAPABILITY_CHARS_MAX,
  CAPABILITY_DOMAIN_TAG,
  RECORD_NAMESPACE,
  ROOT_DOMAIN_TAG,
} from './constants.ts'

/** `/bzzz/<BLAKE3 of the name in hex>`. kad-dht splits keys at slashes: raw bytes would not do. */
export function recordKey(name: string): Uint8Array {
  return Buffer.from(`/${RECORD_NAMESPACE}/${hashBytes(Buffer.from(name))}`)
}

/** What a node can announce itself for: a root that it holds, or something that it can do. */
export type ProviderKey = `root/${string}` | `capability/${string}`

/** @throws InvalidHashError */
export function rootKey(hash: string): ProviderKey {
  return `root/${parseHash(hash)}`
}

/** @throws InvalidRequestError for a name that is empty or too long */
export function capabilityKey(name: string): ProviderKey {
  if (name === '' || name.length > CAPABILITY_CHARS_MAX) {
    throw new InvalidRequestError(
      `A capability has a name of 1 to ${CAPABILITY_CHARS_MAX} characters.`,
    )
  }
  return `capability/${name}`
}

/** Of text from anywhere: whether it is one of the two. */
export function isProviderKey(text: string): text is ProviderKey {
  if (text.startsWith('root/')) return isHash(text.slice('root/'.length))
  const name = text.slice('capability/'.length)
  return text.startsWith('capability/') && name !== '' && name.length <= CAPABILITY_CHARS_MAX
}

/**
 * The key of the table under which providers are announced: sha2-256 over a domain tag and the 32
 * bytes of the hash (of the root, or of a capability's name). kad-dht drops BLAKE3 multihashes
 * without an error.
 */
export function providerCID(key: ProviderKey): CID {
  const slash = key.indexOf('/')
  const name = key.slice(slash + 1)
  const isRoot = key.slice(0, slash) === 'root'
  const hash = isRoot ? parseHash(name) : hashBytes(Buffer.from(name))
  const digest = createHash('sha256')
    .update(isRoot ? ROOT_DOMAIN_TAG : CAPABILITY_DOMAIN_TAG)
    .update(Buffer.from(hash, 'hex'))
    .digest()
  return CID.createV1(raw.code, createMultihash(sha256.code, digest))
}
