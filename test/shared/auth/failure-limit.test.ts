import { describe, expect, it } from 'vitest'

import { FailureLimit } from '../../../shared/auth/failure-limit.ts'

/** What is told after the limit was used up by `address`. */
function exhausted(address: string): FailureLimit {
  const limit = new FailureLimit()
  for (let count = 0; count < 60; count += 1) expect(limit.count(address, 0)).toBe(0)
  return limit
}

describe('failure-limit', () => {
  it('asks for the rest of the window, then starts anew', () => {
    const limit = exhausted('10.0.0.1')
    expect(limit.count('10.0.0.1', 1000)).toBe(59)
    expect(limit.count('10.0.0.1', 59_999)).toBe(1)
    expect(limit.count('10.0.0.1', 60_000)).toBe(0)
  })

  it.each([
    ['10.0.0.1', '::ffff:10.0.0.1', true],
    ['2001:db8:0:1::5', '2001:db8::1:9:9:9:9', true],
    ['2001:DB8::1', '2001:db8:0:0:ffff::', true],
    ['::1', '::2', true],
    ['fe80::1%eth0', 'fe80::2', true],
    ['10.0.0.1', '10.0.0.2', false],
    ['2001:db8:0:1::5', '2001:db8:0:2::5', false],
  ])('takes %s and %s for one: %s', (one, other, same) => {
    expect(exhausted(one).count(other, 0) > 0).toBe(same)
  })

  it('forgets the oldest of more addresses than it has room for', () => {
    const limit = exhausted('10.0.0.1')
    for (let host = 0; host < 10_000; host += 1) limit.count(`address ${host}`, 0)
    expect(limit.count('10.0.0.1', 0)).toBe(0)
  })
})
