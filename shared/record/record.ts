import { createPublicKey, sign, verify, type KeyObject } from 'node:crypto'

import { base58btc } from 'multiformats/bases/base58'
import { z } from 'zod'

import { parseAddress, recordName } from '../address/address.ts'
import { hashBytes, isHash } from '../blob/hash.ts'
import { InvalidAddressError, InvalidRecordError } from '../errors.ts'
import { ADDRESS_CHARS_MAX, MEDIA_TYPE_CHARS_MAX } from '../limits.ts'

/**
 * What a semantic address points at, version by version. A record is itself a blob: its bytes are
 * the canonical JSON below, so `previous` (the hash of the record before it) makes versions a hash
 * chain that anybody can walk and verify.
 */
export interface AddressRecord {
  /** Canonical address without query and fragment. */
  address: string
  /** 1 for the first, then one more each time. */
  version: number
  /** The content. */
  hash: string
  sizeBytes: number
  mediaType: string
  /** Hash of the record of version - 1, null for the first. */
  previous: string | null
  /** Ends of other chains of this address that this version settles; absent, never empty. */
  merged?: string[]
  /** Peer id (Ed25519) of the node that signed. */
  author: string
  /** Milliseconds since the epoch, by the author's clock. */
  timestampMs: number
  /** Base64 of the Ed25519 signature over the domain tag and the unsigned bytes. */
  signature: string
}

/** Keeps a record's signature from being valid for anything else a node signs. */
const DOMAIN_TAG = 'bzzz/record/1\n'

/** A record is small; anything longer is refused unread. */
export const RECORD_BYTES_MAX = 16 * 1024

/** Ends of chains that one version can settle; a fork has as many as a partition had sides. */
export const MERGED_MAX = 32

/** Base58 identity multihash of a protobuf Ed25519 public key: 2 + 4 bytes before the raw key. */
const PEER_ID_PREFIX = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20)

/** DER header of an Ed25519 SubjectPublicKeyInfo (RFC 8410); the 32 key bytes follow. */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

const recordSchema = z.strictObject({
  address: z.string().max(ADDRESS_CHARS_MAX),
  version: z.int().min(1),
  hash: z.string().refine(isHash),
  sizeBytes: z.int().min(0),
  mediaType: z.string().max(MEDIA_TYPE_CHARS_MAX),
  previous: z.string().refine(isHash).nullable(),
  merged: z.array(z.string().refine(isHash)).min(1).max(MERGED_MAX).exactOptional(),
  author: z.string().max(128),
  timestampMs: z.int().min(0),
  signature: z.base64().max(128).refine(isCanonicalBase64),
})

/** The last letter has bits that do not count: with others it would be a second record. */
function isCanonicalBase64(text: string): boolean {
  return Buffer.from(text, 'base64').toString('base64') === text
}

/** Field order is the encoding: the same record has the same bytes everywhere. */
function inOrder(record: Omit<AddressRecord, 'signature'>): Omit<AddressRecord, 'signature'> {
  const { address, version, hash, sizeBytes, mediaType, previous, merged } = record
  const { author, timestampMs } = record
  const content = { address, version, hash, sizeBytes, mediaType, previous }
  return { ...content, ...(merged && { merged }), author, timestampMs }
}

function unsignedBytes(record: Omit<AddressRecord, 'signature'>): Buffer {
  return Buffer.from(DOMAIN_TAG + JSON.stringify(inOrder(record)))
}

/** The bytes that are stored, sent and hashed. */
export function encodeRecord(record: AddressRecord): Buffer {
  return Buffer.from(JSON.stringify({ ...inOrder(record), signature: record.signature }))
}

/** Of records that were asked before: one is looked at a dozen times on its way. */
const hashes = new WeakMap<AddressRecord, string>()

/** The hash under which the record is a blob. Records are values: nobody changes one. */
export function recordHash(record: AddressRecord): string {
  let hash = hashes.get(record)
  if (hash === undefined) {
    hash = hashBytes(encodeRecord(record))
    hashes.set(record, hash)
  }
  return hash
}

/**
 * Reads a record from bytes of any origin. Shape and canonical encoding are checked, the
 * signature is not: see `verifyRecord`.
 * @throws InvalidRecordError
 */
export function decodeRecord(bytes: Uint8Array): AddressRecord {
  if (bytes.length > RECORD_BYTES_MAX) throw new InvalidRecordError('The record is too long.')
  let parsed: AddressRecord
  try {
    parsed = recordSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
  } catch (error) {
    throw new InvalidRecordError('The record cannot be read.', { cause: error })
  }
  if (!encodeRecord(parsed).equals(bytes)) {
    throw new InvalidRecordError('The record is not in its canonical encoding.')
  }
  if (!isRecordName(parsed.address)) {
    throw new InvalidRecordError('The record names no address in its canonical text.')
  }
  return parsed
}

/** A name that is not canonical would be a second record of the same address. */
function isRecordName(text: string): boolean {
  try {
    const address = parseAddress(text)
    return address.kind === 'semantic' && recordName(address) === text
  } catch (error) {
    if (error instanceof InvalidAddressError) return false
    throw error
  }
}

export function signRecord(
  fields: Omit<AddressRecord, 'signature'>,
  privateKey: KeyObject,
): AddressRecord {
  return { ...fields, signature: sign(null, unsignedBytes(fields), privateKey).toString('base64') }
}

/** @throws InvalidRecordError when the signature is not the author's. */
export function verifyRecord(record: AddressRecord): void {
  const key = publicKeyOf(record.author)
  const signature = Buffer.from(record.signature, 'base64')
  if (!verify(null, unsignedBytes(record), key, signature)) {
    throw new InvalidRecordError('The signature of the record is not its author’s.')
  }
}

/** An Ed25519 peer id carries its public key whole. @throws InvalidRecordError */
export function publicKeyOf(peerId: string): KeyObject {
  let bytes: Uint8Array
  try {
    bytes = base58btc.baseDecode(peerId)
  } catch (error) {
    throw new InvalidRecordError('The author is not a peer id.', { cause: error })
  }
  const matches = PEER_ID_PREFIX.every((byte, index) => bytes[index] === byte)
  if (!matches || bytes.length !== PEER_ID_PREFIX.length + 32) {
    throw new InvalidRecordError('The author is not an Ed25519 peer id.')
  }
  const der = Buffer.concat([SPKI_PREFIX, bytes.subarray(PEER_ID_PREFIX.length)])
  return createPublicKey({ key: der, format: 'der', type: 'spki' })
}

/**
 * Which of two records of one address stands: the higher version, then the lower hash, so that
 * every node picks the same whatever it saw first.
 */
export function compareRecords(a: AddressRecord, b: AddressRecord): number {
  if (a.version !== b.version) return b.version - a.version
  const [hashA, hashB] = [recordHash(a), recordHash(b)]
  return hashA < hashB ? -1 : hashA > hashB ? 1 : 0
}

/** How a record looks in HTTP answers. */
export interface RecordJSON {
  address: string
  version: number
  hash: string
  size: number
  mediaType: string
  previous: string | null
  /** Record hashes of the other ends that this version settled. */
  merged?: string[]
  author: string
  timestamp: string
  signature: string
  /** The record's own hash. */
  record: string
}

/** The record that an answer shows. Whether it is whole and signed is for `verifyRecord`. */
export function fromRecordJSON(json: RecordJSON): AddressRecord {
  const { address, version, hash, mediaType, previous, merged, author, signature } = json
  const content = { hash, sizeBytes: json.size, mediaType }
  const chain = { previous, ...(merged && { merged }) }
  const timestampMs = Date.parse(json.timestamp)
  return { address, version, ...content, ...chain, author, timestampMs, signature }
}

export function toRecordJSON(record: AddressRecord): RecordJSON {
  return {
    address: record.address,
    version: record.version,
    hash: record.hash,
    size: record.sizeBytes,
    mediaType: record.mediaType,
    previous: record.previous,
    ...(record.merged && { merged: record.merged }),
    author: record.author,
    timestamp: new Date(record.timestampMs).toISOString(),
    signature: record.signature,
    record: recordHash(record),
  }
}
