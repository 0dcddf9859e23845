import { InvalidAddressError } from '../errors.ts'
import { ADDRESS_CHARS_MAX } from '../limits.ts'

// encodeURIComponent encodes more than RFC 3986 asks for; these are the characters a path or a
// fragment may hold as they are. Whatever was a percent sign is %25 by then and cannot match.
const NEEDLESS_IN_PATH = /%(?:24|26|2B|2C|2F|3A|3B|3D|40)/g
const NEEDLESS_IN_FRAGMENT = /%(?:24|26|2B|2C|2F|3A|3B|3D|3F|40)/g

const PLAIN = /^[A-Za-z0-9._~/-]*$/

const CONTROL = /\p{Cc}/u

/** Decodes once. Overlong forms, cut sequences and encoded surrogates are invalid UTF-8. */
export function decodePercent(name: string, text: string): string {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    throw new InvalidAddressError(`The ${name} has a percent sequence that is not valid UTF-8.`)
  }
}

/** Path and fragment: well-formed Unicode without control characters, in NFC. */
export function checkText(name: string, text: string): string {
  if (typeof text !== 'string' || text === '')
    throw new InvalidAddressError(`The ${name} is empty.`)
  if (text.length > ADDRESS_CHARS_MAX) throw new InvalidAddressError(`The ${name} is too long.`)
  if (PLAIN.test(text)) return text
  if (!text.isWellFormed()) {
    throw new InvalidAddressError(`The ${name} holds half of a surrogate pair.`)
  }
  if (CONTROL.test(text)) throw new InvalidAddressError(`The ${name} holds a control character.`)
  return text.normalize('NFC')
}

export function encodePath(path: string): string {
  return encode(path, NEEDLESS_IN_PATH)
}

export function encodeFragment(fragment: string): string {
  return encode(fragment, NEEDLESS_IN_FRAGMENT)
}

/** A star is always encoded, so that no canonical address reads as a search. */
function encode(text: string, needless: RegExp): string {
  if (PLAIN.test(text)) return text
  return encodeURIComponent(text).replace(needless, decodeURIComponent).replaceAll('*', '%2A')
}
