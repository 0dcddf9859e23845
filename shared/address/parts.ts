import { InvalidAddressError } from '../errors.ts'
import { ADDRESS_CHARS_MAX } from '../limits.ts'

/** An address cut at its delimiters. Nothing is decoded yet. A part that is not there is absent. */
export interface AddressParts {
  authority: string
  path?: string
  query?: string
  fragment?: string
}

export const SCHEME = 'bzzz://'

/** The authority of a content address. A semantic one always has an `@`, so it cannot be this. */
const CONTENT_AUTHORITY = 'b3'

export const CONTENT_ROOT = `${SCHEME}${CONTENT_AUTHORITY}/`

export function isContent(parts: AddressParts): boolean {
  return parts.authority.toLowerCase() === CONTENT_AUTHORITY
}

/**
 * Cuts `[/][bzzz://]authority[/path][?query][#fragment]`. One leading slash is passed over, so that
 * the raw path of an HTTP request is an address as it stands.
 * @throws InvalidAddressError
 */
export function splitAddress(text: string): AddressParts {
  if (typeof text !== 'string') throw new InvalidAddressError('An address is a text.')
  if (text.length > ADDRESS_CHARS_MAX) {
    throw new InvalidAddressError(`The address is longer than ${ADDRESS_CHARS_MAX} characters.`)
  }
  const [beforeFragment, fragment] = cut(withoutScheme(text), '#')
  const [beforeQuery, query] = cut(beforeFragment, '?')
  const [authority, path] = cut(beforeQuery, '/')
  return {
    authority,
    ...(path !== undefined && { path }),
    ...(query !== undefined && { query }),
    ...(fragment !== undefined && { fragment }),
  }
}

function withoutScheme(text: string): string {
  const start = text.startsWith('/') ? 1 : 0
  const scheme = text.slice(start, start + SCHEME.length).toLowerCase()
  return text.slice(scheme === SCHEME ? start + SCHEME.length : start)
}

function cut(text: string, delimiter: string): [string, string | undefined] {
  const index = text.indexOf(delimiter)
  return index === -1 ? [text, undefined] : [text.slice(0, index), text.slice(index + 1)]
}
