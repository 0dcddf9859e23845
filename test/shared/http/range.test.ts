import { describe, expect, it } from 'vitest'

import { RangeNotSatisfiableError } from '../../../shared/errors.ts'
import { parseRange } from '../../../shared/http/range.ts'

describe('parseRange', () => {
  it.each([
    ['bytes=0-0', 10, { start: 0, end: 0 }],
    ['bytes=2-5', 10, { start: 2, end: 5 }],
    ['bytes=2-', 10, { start: 2, end: 9 }],
    ['bytes=-3', 10, { start: 7, end: 9 }],
    ['bytes=-30', 10, { start: 0, end: 9 }],
    ['bytes=0-99', 10, { start: 0, end: 9 }],
  ])('reads %s of %i bytes', (header, sizeBytes, range) => {
    expect(parseRange(header, sizeBytes)).toEqual(range)
  })

  it.each([undefined, '', 'bytes=', 'bytes=-', 'items=0-1', 'bytes=0-1,3-4', 'bytes=5-2'])(
    'ignores %s',
    (header) => {
      expect(parseRange(header, 10)).toBeUndefined()
    },
  )

  it.each([
    ['bytes=10-', 10],
    ['bytes=-0', 10],
    ['bytes=0-', 0],
  ])('refuses %s of %i bytes', (header, sizeBytes) => {
    expect(() => parseRange(header, sizeBytes)).toThrow(RangeNotSatisfiableError)
  })
})
