import { InvalidAddressError } from '../errors.ts'
import { ADDRESS_PATH_BYTES_MAX, ADDRESS_PATH_SEGMENTS_MAX } from '../limits.ts'
import { checkText, decodePercent } from './percent.ts'

/** @throws InvalidAddressError. Takes the path as written, gives it decoded and checked. */
export function parsePath(written: string): string {
  if (written === '**' || written.endsWith('/**')) {
    throw new InvalidAddressError('The path ends with /**, which is allowed in searches only.')
  }
  return checkPath(decodePath(written))
}

/**
 * @throws InvalidAddressError. Takes a decoded path and gives it in NFC. Lengths and
 * segments are those of the normalised text, so nothing that normalisation produces goes unseen.
 */
export function checkPath(decoded: string): string {
  const path = checkText('path', decoded)
  if (Buffer.byteLength(path) > ADDRESS_PATH_BYTES_MAX) {
    throw new InvalidAddressError(`The path is longer than ${ADDRESS_PATH_BYTES_MAX} bytes.`)
  }
  if (path.includes('\\')) throw new InvalidAddressError('The path holds a backslash.')
  const segments = path.split('/')
  if (segments.length > ADDRESS_PATH_SEGMENTS_MAX) {
    throw new InvalidAddressError(`The path has more than ${ADDRESS_PATH_SEGMENTS_MAX} segments.`)
  }
  for (const segment of segments) {
    if (segment === '') throw new InvalidAddressError('The path has an empty segment.')
    if (segment === '.' || segment === '..') {
      throw new InvalidAddressError('The path has a segment that is . or .., plain or encoded.')
    }
  }
  return path
}

/** A slash that was encoded would change the segments after decoding, so it is refused. */
function decodePath(written: string): string {
  if (!written.includes('%')) return written
  const segments = written.split('/').map((segment) => decodePercent('path', segment))
  if (segments.some((segment) => segment.includes('/'))) {
    throw new InvalidAddressError('The path has an encoded slash.')
  }
  return segments.join('/')
}
