import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import {
  BATCH_BLOB_BYTES_MAX,
  BATCH_BLOBS_MAX,
  BATCH_BYTES_MAX,
  decodeBatch,
  encodeBatch,
  fitsBatch,
  splitBatches,
} from '../../../shared/blob/batch.ts'
import { InvalidRequestError } from '../../../shared/errors.ts'

const blobs = fc.array(fc.uint8Array({ maxLength: 200 }), { minLength: 1, maxLength: 40 })
const plain = (items: readonly Uint8Array[]) => items.map((item) => [...item])

/** Compares megabytes, which matchers take a minute for. */
const isSame = (a: readonly Buffer[], b: readonly Buffer[]): boolean =>
  a.length === b.length && a.every((each, index) => each.equals(b[index]!))

describe('a batch of blobs', () => {
  it('comes apart as it was put together', () => {
    fc.assert(
      fc.property(blobs, (items) => {
        expect(plain(decodeBatch(encodeBatch(items)))).toEqual(plain(items))
      }),
    )
  })

  it('is refused wherever it is cut, unless between two blobs', () => {
    fc.assert(
      fc.property(blobs, fc.nat(), (items, at) => {
        const whole = encodeBatch(items)
        const cutAt = at % whole.length
        const ends = items.map((_, index) => encodeBatch(items.slice(0, index + 1)).length)
        const read = () => decodeBatch(whole.subarray(0, cutAt))
        if (ends.includes(cutAt)) expect(read().length).toBe(ends.indexOf(cutAt) + 1)
        else expect(read).toThrow(InvalidRequestError)
      }),
    )
  })

  it('has at most so many blobs, none of them large', () => {
    const many = Array.from({ length: BATCH_BLOBS_MAX + 1 }, () => Buffer.alloc(1))
    expect(() => decodeBatch(encodeBatch(many))).toThrow(InvalidRequestError)
    expect(decodeBatch(encodeBatch(many.slice(1))).length).toBe(BATCH_BLOBS_MAX)
    const large = Buffer.alloc(BATCH_BLOB_BYTES_MAX + 1)
    expect(() => decodeBatch(encodeBatch([large]))).toThrow(InvalidRequestError)
    expect(fitsBatch([BATCH_BLOB_BYTES_MAX])).toBe(true)
    expect(fitsBatch([large.length])).toBe(false)
  })

  it('is split so that each part fits, in order', () => {
    const sizes = [
      ...Array.from({ length: BATCH_BLOBS_MAX + 10 }, () => 1),
      ...Array.from({ length: 20 }, () => BATCH_BLOB_BYTES_MAX),
    ]
    const items = sizes.map((size, index) => Buffer.alloc(size, index % 256))
    const parts = splitBatches(items)
    // The same buffers: to compare megabytes byte by byte takes a minute.
    expect(parts.flat().length).toBe(items.length)
    expect(parts.flat().every((item, index) => item === items[index])).toBe(true)
    for (const part of parts) {
      expect(encodeBatch(part).length).toBeLessThanOrEqual(BATCH_BYTES_MAX)
      expect(isSame(decodeBatch(encodeBatch(part)), part)).toBe(true)
    }
    expect(parts.length).toBe(3)
    expect(splitBatches([])).toEqual([])
  })
})
