import { describe, expect, it } from 'vitest'

import { readSubmission } from '../../../shared/queue/submission.ts'

const submitter = { owner: 'ada', authorization: 'Bearer ada-token' }
const read = (value: unknown) => readSubmission(value, { submitter, callbackHosts: ['127.0.0.1'] })
const textOf = (body: string) => Buffer.from(body, 'base64').toString()

describe('submission', () => {
  it('makes a call of a function in the name of its submitter', () => {
    const { job, children } = read({ function: 'resolve', path: '/x?y=1', json: { a: 1 } })
    expect(children).toBeNull()
    expect(job).toMatchObject({
      topic: 'calls',
      owner: 'ada',
      call: {
        function: 'resolve',
        path: '/x?y=1',
        headers: { authorization: 'Bearer ada-token', 'content-type': 'application/json' },
      },
    })
    expect(textOf(job.call.body)).toBe('{"a":1}')
  })

  it('takes text and bytes, options, a key and a callback', () => {
    const { job } = read({
      topic: 'greetings',
      bodyBase64: 'AP8=',
      priority: 3,
      delayMs: 1000,
      attempts: 2,
      key: 'k',
      callbackUrl: 'http://127.0.0.1:9/x',
    })
    expect(job).toMatchObject({
      topic: 'greetings',
      call: { function: null, path: '/', body: 'AP8=' },
      ...{ priority: 3, delayMs: 1000, attempts: 2, key: 'k' },
      callbackUrl: 'http://127.0.0.1:9/x',
    })
    expect(job.call.headers['content-type']).toBe('application/octet-stream')
    const text = read({ function: 'resolve', body: 'hello' }).job.call
    expect(text.headers['content-type']).toBe('text/plain')
    expect(textOf(text.body)).toBe('hello')
  })

  it('makes a flow, whose children are in the same name', () => {
    const { children } = read({ function: 'resolve', children: [{ topic: 'a', body: '1' }] })
    expect(children).toMatchObject([{ topic: 'a', owner: 'ada', call: { function: null } }])
  })

  it.each([
    ['neither', {}],
    ['both', { function: 'a', topic: 'b' }],
    ['no function', { function: 'A/../b' }],
    ['a reserved topic', { topic: 'callbacks' }],
    ['no path', { function: 'a', path: 'http://elsewhere' }],
    ['two bodies', { function: 'a', body: 'x', json: 1 }],
    ['a host not listed', { function: 'a', callbackUrl: 'http://example.org' }],
    ['an unknown field', { function: 'a', headers: { authorization: 'Bearer root' } }],
    ['a key for a flow', { function: 'a', key: 'k', children: [{ topic: 'a' }] }],
    ['no child', { function: 'a', children: [] }],
  ])('refuses %s', (_, value) => {
    expect(() => read(value)).toThrow(expect.objectContaining({ code: 'BZZZ_REQUEST_INVALID' }))
  })
})
