import { describe, expect, it } from 'vitest'

import { CallerLeftError, DaemonUnavailableError } from '../../../shared/errors.ts'
import { toWireError } from '../../../shared/http/wire-error.ts'

describe('wire-error', () => {
  it.each([
    ['itself', (left: Error) => left],
    ['wrapped once', (cause: Error) => new DOMException('aborted', { cause })],
    ['wrapped in one of ours', (cause: Error) => new DaemonUnavailableError('none', { cause })],
    ['wrapped twice', (cause: Error) => new Error('x', { cause: new Error('y', { cause }) })],
  ])('knows a caller that left: %s', (_case, wrap) => {
    const wire = toWireError(wrap(new CallerLeftError('The caller left.')), 'id')
    expect(wire).toMatchObject({ status: 499, body: { error: { code: 'BZZZ_CALLER_LEFT' } } })
  })

  it('ends with causes that go round', () => {
    const first = new Error('x')
    first.cause = new Error('y', { cause: first })
    expect(toWireError(first, 'id').status).toBe(500)
  })
})
