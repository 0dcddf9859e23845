import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import { MarkSet } from '../../../p2p-daemon/lifetime/mark-set.ts'

/** Hashes that look alike at both ends are as good as any others. */
const hash = fc.oneof(
  fc.nat({ max: 500 }).map((seed) => hashBytes(Buffer.from(`${seed}`))),
  fc.nat({ max: 50 }).map((seed) => seed.toString(16).padStart(16, '0').padEnd(64, '0')),
)

describe('mark-set', () => {
  it('has what was added, as text or as bytes', () => {
    fc.assert(
      fc.property(fc.array(hash), fc.array(hash), (added, asked) => {
        const marks = new MarkSet()
        const known = new Set(added.map((each) => each.slice(0, 16)))
        for (const [index, each] of added.entries()) {
          if (index % 2 === 0) marks.add(each)
          else marks.addBytes(Buffer.from(`00${each}`, 'hex'), 1)
        }
        for (const each of [...added, ...asked]) {
          const isZero = each.startsWith('0'.repeat(16))
          expect(marks.has(each)).toBe(isZero || known.has(each.slice(0, 16)))
        }
      }),
    )
  })

  it('takes a million marks in at most 32 bytes each', () => {
    const marks = new MarkSet()
    const bytes = Buffer.alloc(32)
    const before = process.memoryUsage().arrayBuffers
    for (let index = 1; index <= 1_000_000; index += 1) {
      bytes.writeUInt32BE((index * 2_654_435_761) % 2 ** 32, 0)
      bytes.writeUInt32BE(index, 4)
      marks.addBytes(bytes, 0)
    }
    expect(marks.size).toBe(1_000_000)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64_000_000)
    bytes.writeUInt32BE(1_000_001, 4)
    expect(marks.has(bytes.toString('hex'))).toBe(false)
  })

  it('refuses more than its limit', () => {
    const marks = new MarkSet({ max: 2 })
    marks.add(hashBytes(Buffer.from('1')))
    marks.add(hashBytes(Buffer.from('1')))
    marks.add(hashBytes(Buffer.from('2')))
    expect(() => marks.add(hashBytes(Buffer.from('3')))).toThrow(
      expect.objectContaining({ code: 'BZZZ_OVERLOADED' }),
    )
  })
})
