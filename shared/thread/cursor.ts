import { InvalidRequestError } from '../errors.ts'

/** A place in an order of two keys: a number, and a text where numbers are equal. */
export interface Cursor {
  number: number
  text: string
}

export function formatCursor({ number, text }: Cursor): string {
  return `${number}.${text}`
}

/**
 * Takes a bare number, too: behind everything with that number.
 * @throws InvalidRequestError
 */
export function parseCursor(given: string): Cursor {
  const match = /^(-?\d{1,15})(?:\.(.*))?$/.exec(given)
  if (!match) throw new InvalidRequestError('The cursor is not one that an answer gave.')
  return { number: Number(match[1]), text: match[2] ?? LAST }
}

/** Behind every hash and address in the order of characters. */
const LAST = '~'
