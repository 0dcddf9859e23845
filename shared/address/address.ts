import { isHash } from '../blob/hash.ts'
import { InvalidAddressError } from '../errors.ts'
import { FRAGMENT_BYTES_MAX } from './constants.ts'
import type { Labels } from './labels.ts'
import { checkLabel, checkLabels, formatLabels, parseLabels } from './labels.ts'
import type { AddressParts } from './parts.ts'
import { CONTENT_ROOT, isContent, SCHEME, splitAddress } from './parts.ts'
import { checkPath, parsePath } from './path.ts'
import { checkText, decodePercent, encodeFragment, encodePath } from './percent.ts'
import type { VersionChoice } from './query.ts'
import { checkVersionChoice, formatQuery, parseQuery } from './query.ts'

/** Bytes by their hash, or a file of the manifest that has the hash. Immutable. */
export interface ContentAddress {
  kind: 'content'
  /** BLAKE3-256, 64 lower-case hex characters. */
  hash: string
  /** Decoded, in NFC, `/` between segments. */
  path?: string
}

/** The name of a record, optionally at one version. */
export interface SemanticAddress extends Labels, VersionChoice {
  kind: 'semantic'
  /** Decoded, in NFC, `/` between segments. */
  path: string
  /** Decoded, in NFC. It points into the content and is never part of the record's name. */
  fragment?: string
}

export type Address = ContentAddress | SemanticAddress

/**
 * Reads an address with or without `bzzz://`, still percent-encoded: decoding is done here, exactly
 * once. The result is normalised, so two addresses are the same when their fields are.
 * @throws InvalidAddressError and nothing else, whatever the input
 */
export function parseAddress(text: string): Address {
  const parts = splitAddress(text)
  if (isContent(parts)) return parseContent(parts)
  const labels = parseLabels(parts.authority, checkLabel)
  if (parts.path === undefined) throw new InvalidAddressError('The address has no path.')
  return {
    kind: 'semantic',
    ...labels,
    path: parsePath(parts.path),
    ...(parts.query !== undefined && parseQuery(parts.query)),
    ...(parts.fragment !== undefined && {
      fragment: checkFragment(decodePercent('fragment', parts.fragment)),
    }),
  }
}

/**
 * The one canonical text of an address: ASCII, with `bzzz://`.
 * @throws InvalidAddressError when a field holds what `parseAddress` would refuse
 */
export function formatAddress(address: Address): string {
  const name = recordName(address)
  if (address.kind === 'content') return name
  const query = formatQuery(checkVersionChoice(address))
  if (address.fragment === undefined) return name + query
  return `${name}${query}#${encodeFragment(checkFragment(address.fragment))}`
}

/** The canonical text without version and fragment: the name a record is kept under. */
export function recordName(address: Address): string {
  if (address?.kind === 'content') {
    const root = CONTENT_ROOT + checkHash(address.hash)
    return address.path === undefined ? root : `${root}/${encodePath(checkPath(address.path))}`
  }
  if (address?.kind !== 'semantic') {
    throw new InvalidAddressError('An address is of kind content or semantic.')
  }
  const labels = formatLabels(checkLabels(address, checkLabel))
  return `${SCHEME}${labels}/${encodePath(checkPath(address.path))}`
}

function parseContent(parts: AddressParts): ContentAddress {
  if (parts.query !== undefined || parts.fragment !== undefined) {
    throw new InvalidAddressError('A content address has no ?query and no #fragment.')
  }
  const rest = parts.path ?? ''
  const slash = rest.indexOf('/')
  if (slash === -1) return { kind: 'content', hash: checkHash(rest) }
  const hash = checkHash(rest.slice(0, slash))
  return { kind: 'content', hash, path: parsePath(rest.slice(slash + 1)) }
}

function checkHash(text: string): string {
  const hash = typeof text === 'string' ? text.toLowerCase() : ''
  if (!isHash(hash)) {
    throw new InvalidAddressError('The hash of a content address is not 64 hexadecimal characters.')
  }
  return hash
}

function checkFragment(decoded: string): string {
  const fragment = checkText('fragment', decoded)
  if (Buffer.byteLength(fragment) > FRAGMENT_BYTES_MAX) {
    throw new InvalidAddressError(`The fragment is longer than ${FRAGMENT_BYTES_MAX} bytes.`)
  }
  return fragment
}
