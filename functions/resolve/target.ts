import { LRUCache } from 'lru-cache'

import { formatAddress, parseAddress, type Address } from '../../shared/address/address.ts'

/** Keys of the query that belong to this function; `v` and `at` belong to the address. */
const OWN_KEYS = ['history', 'record', 'version', 'before', 'limit'] as const

/** URLs of which the meaning is remembered: agents ask for the same few again and again. */
const TARGETS_MAX = 10_000

/** Longer URLs are read each time, so that the memory for them has a bound. */
const REMEMBERED_CHARS_MAX = 1_024

type OwnKey = (typeof OWN_KEYS)[number]

/** What a URL asks for. */
export interface Target {
  address: Address
  /** The canonical text, with `?v=` or `?at=`, without a fragment. */
  text: string
  query: Readonly<Partial<Record<OwnKey, string>>>
}

const targets = new LRUCache<string, Target>({ max: TARGETS_MAX })

/**
 * Reads the URL of a request. It is taken raw: percent-decoding is done once, by the address's own
 * grammar.
 * @throws InvalidAddressError
 */
export function readTarget(url: string): Target {
  const known = targets.get(url)
  if (known) return known
  const target = parseTarget(url)
  if (url.length <= REMEMBERED_CHARS_MAX) targets.set(url, target)
  return target
}

function parseTarget(url: string): Target {
  const [path = '', search = ''] = splitOnce(url, '?')
  const query: Partial<Record<OwnKey, string>> = {}
  const kept: string[] = []
  for (const pair of search === '' ? [] : search.split('&')) {
    const [key = '', value = ''] = splitOnce(pair, '=')
    if (isOwnKey(key)) query[key] = value
    else kept.push(pair)
  }
  const given = path.replace(/^\//, '') + (kept.length > 0 ? `?${kept.join('&')}` : '')
  const address = parseAddress(given)
  return { address, text: formatAddress(withoutFragment(address)), query }
}

function splitOnce(text: string, separator: string): [string, string?] {
  const index = text.indexOf(separator)
  return index === -1 ? [text] : [text.slice(0, index), text.slice(index + 1)]
}

function isOwnKey(key: string): key is OwnKey {
  return (OWN_KEYS as readonly string[]).includes(key)
}

/** A fragment points into the content; what is looked up is the whole. */
function withoutFragment(address: Address): Address {
  if (address.kind === 'content' || address.fragment === undefined) return address
  const { fragment: _fragment, ...rest } = address
  return rest
}
