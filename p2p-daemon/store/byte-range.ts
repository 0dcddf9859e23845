import { RangeNotSatisfiableError } from '../../shared/errors.ts'
import type { ReadOptions } from './blob-store.ts'

export interface ByteRange {
  start: number
  /** Inclusive; `start - 1` for the blob without bytes. */
  end: number
}

/** The range that is read: an end past the last byte is cut, as HTTP has it (RFC 9110, 14.1.2). */
export function satisfiedRange(sizeBytes: number, options: ReadOptions = {}): ByteRange {
  const start = options.start ?? 0
  const end = Math.min(options.end ?? sizeBytes - 1, sizeBytes - 1)
  const whole = options.start === undefined && options.end === undefined
  if (whole) return { start: 0, end }
  const valid = Number.isSafeInteger(start) && Number.isSafeInteger(options.end ?? 0)
  if (!valid || start < 0 || start >= sizeBytes || end < start) {
    throw new RangeNotSatisfiableError(`The blob has ${sizeBytes} bytes.`, sizeBytes)
  }
  return { start, end }
}
