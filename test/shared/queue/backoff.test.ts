import { describe, expect, it } from 'vitest'

import { backoffMs } from '../../../shared/queue/backoff.ts'
import { BACKOFF_MS_MAX, RETRY_AFTER_MS_MAX } from '../../../shared/queue/constants.ts'
import { JobRetryError } from '../../../shared/queue/failures.ts'

const never = () => 0
const always = () => 1

describe('backoff', () => {
  it('doubles, up to a bound, and is half of it by chance', () => {
    expect([1, 2, 3, 4].map((made) => backoffMs(made, null, never))).toEqual([
      1000, 2000, 4000, 8000,
    ])
    expect([1, 2, 3, 4].map((made) => backoffMs(made, null, always))).toEqual([
      500, 1000, 2000, 4000,
    ])
    expect(backoffMs(1000, null, never)).toBe(BACKOFF_MS_MAX)
  })

  it('is never shorter than what the function asked for, nor longer than a day', () => {
    const asked = new JobRetryError('later', 60_000)
    expect(backoffMs(1, asked, never)).toBe(60_000)
    expect(backoffMs(1, asked, always)).toBeGreaterThan(60_000)
    expect(backoffMs(1, new JobRetryError('much later', 1e12), never)).toBe(RETRY_AFTER_MS_MAX)
  })
})
