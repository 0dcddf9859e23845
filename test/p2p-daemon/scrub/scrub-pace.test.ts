import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import { dueAfter, pauseAfter } from '../../../p2p-daemon/scrub/scrub-pace.ts'

describe('scrub-pace', () => {
  it('keeps to the rate and to the share of the disk, whatever was read', () => {
    const amounts = {
      bytes: fc.integer({ min: 0, max: 2 ** 32 }),
      busyMs: fc.double({ min: 0.01, max: 60_000, noNaN: true }),
      bytesPerSecondMax: fc.integer({ min: 1, max: 2 ** 32 }),
      ioShare: fc.double({ min: 0.001, max: 1, noNaN: true }),
    }
    fc.assert(
      fc.property(fc.record(amounts), ({ bytes, busyMs, ...limits }) => {
        const pauseMs = pauseAfter(bytes, busyMs, limits)
        const seconds = (busyMs + pauseMs) / 1000
        expect(pauseMs).toBeGreaterThanOrEqual(0)
        expect(bytes / seconds).toBeLessThanOrEqual(limits.bytesPerSecondMax * 1.000001)
        expect(busyMs / (busyMs + pauseMs)).toBeLessThanOrEqual(limits.ioShare * 1.000001)
      }),
    )
  })

  it('spreads hashes over the period in their order', () => {
    const hashes = Array.from({ length: 1000 }, (_, index) => hashBytes(Buffer.from(`${index}`)))
    const due = hashes.toSorted().map((hash) => dueAfter(hash, 0, 1000))
    expect(due).toEqual(due.toSorted((a, b) => a - b))
    expect(due[0]).toBeGreaterThanOrEqual(0)
    expect(due.at(-1)).toBeLessThan(1000)
    const firstHalf = due.filter((atMs) => atMs < 475).length
    expect(firstHalf).toBeGreaterThan(400)
    expect(firstHalf).toBeLessThan(600)
  })
})
