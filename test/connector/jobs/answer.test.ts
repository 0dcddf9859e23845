import { describe, expect, it } from 'vitest'

import { describeAnswer, retryAfterOf, verdictOf } from '../../../connector/jobs/answer.ts'

describe('answer', () => {
  it.each([
    ['good', [200, 202, 204]],
    ['again', [408, 425, 429, 500, 502, 503, 504]],
    ['bad', [301, 304, 400, 401, 403, 404, 409, 410, 422]],
  ])('is %s for %j', (verdict, statuses) => {
    for (const status of statuses) expect(verdictOf(status)).toBe(verdict)
  })

  it('says when to come back, in seconds or as a date', () => {
    expect(retryAfterOf(undefined)).toBeNull()
    expect(retryAfterOf('7')).toBe(7000)
    expect(retryAfterOf('soon')).toBeNull()
    const now = Date.parse('2026-01-01T00:00:00Z')
    expect(retryAfterOf('Thu, 01 Jan 2026 00:00:30 GMT', now)).toBe(30_000)
    expect(retryAfterOf('Wed, 31 Dec 2025 00:00:00 GMT', now)).toBe(0)
  })

  it('is described in the words of the function, without what a terminal would obey', () => {
    const describe = (contentType: string, text: string) =>
      describeAnswer('echo', { status: 404, contentType, body: Buffer.from(text) })
    expect(describe('text/plain', 'not\n\u0000\u001b[31mhere')).toBe(
      'echo answered 404: not [31mhere',
    )
    expect(describe('image/png', 'bytes')).toBe('echo answered 404.')
    expect(describe('text/plain', 'x'.repeat(1000))).toHaveLength(
      'echo answered 404: '.length + 300,
    )
  })
})
