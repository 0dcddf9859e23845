import { createHash } from 'node:crypto'

import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { create as createMultihash } from 'multiformats/hashes/digest'
import { sha256 } from 'multiformats/hashes/sha2'

import { hashBytes, parseHash } from '../../shared/blob/hash.ts'
import { RECORD_NAMESPACE, ROOT_DOMAIN_TAG } from './constants.ts'

/** `/bzzz/<BLAKE3 of the name in hex>`. kad-dht splits keys at slashes: raw bytes would not do. */
export function recordKey(name: string): Uint8Array {
  return Buffer.from(`/${RECORD_NAMESPACE}/${hashBytes(Buffer.from(name))}`)
}

/**
 * The key under which holders of a root are announced: sha2-256 over the domain tag and the 32
 * bytes of the hash. kad-dht drops BLAKE3 multihashes without an error.
 */
export function rootCID(hash: string): CID {
  const digest = createHash('sha256')
    .update(ROOT_DOMAIN_TAG)
    .update(Buffer.from(parseHash(hash), 'hex'))
    .digest()
  return CID.createV1(raw.code, createMultihash(sha256.code, digest))
}
