import { RangeNotSatisfiableError } from '../errors.ts'

/** First and last byte, both inclusive. */
export interface ByteRange {
  start: number
  end: number
}

/** More digits than any size has; longer numbers are nonsense. */
const RANGE_PATTERN = /^bytes=(\d{0,15})-(\d{0,15})$/

/**
 * Reads a `Range` header for content of `sizeBytes`. Undefined means the whole: no header, a unit
 * or form that RFC 9110 lets a server ignore, or several ranges at once.
 * @throws RangeNotSatisfiableError when the range begins behind the end
 */
export function parseRange(header: string | undefined, sizeBytes: number): ByteRange | undefined {
  const match = RANGE_PATTERN.exec(header ?? '')
  if (!match) return undefined
  const [, first = '', last = ''] = match
  if (first === '' && last === '') return undefined
  const range =
    first === ''
      ? { start: Math.max(sizeBytes - Number(last), 0), end: sizeBytes - 1 }
      : { start: Number(first), end: last === '' ? sizeBytes - 1 : Number(last) }
  // A last byte before the first makes the header invalid, and an invalid header is ignored.
  if (first !== '' && last !== '' && range.end < range.start) return undefined
  range.end = Math.min(range.end, sizeBytes - 1)
  if (range.start >= sizeBytes || range.end < range.start) {
    throw new RangeNotSatisfiableError('The range begins behind the end.', sizeBytes)
  }
  return range
}
