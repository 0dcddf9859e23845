import { describe, expect, it } from 'vitest'

import { requireCallbackURL, signCallback, verifyCallback } from '../../../shared/queue/callback.ts'

describe('callback URL', () => {
  it.each([
    ['http://127.0.0.1:8080/function/x', ['127.0.0.1']],
    ['http://127.0.0.1:8080/', ['127.0.0.1:8080']],
    ['https://hooks.example.org/a', ['*.example.org']],
    ['https://anything.example/', ['*']],
  ])('%s is allowed by %j', (url, hosts) => {
    expect(requireCallbackURL(url, hosts)).toBe(url)
  })

  it.each([
    ['http://127.0.0.1:8081/', ['127.0.0.1:8080']],
    ['http://example.org/', ['*.example.org']],
    ['http://evilexample.org/', ['*.example.org']],
    ['http://user:secret@127.0.0.1/', ['127.0.0.1']],
    ['ftp://127.0.0.1/', ['*']],
    ['not a url', ['*']],
    [`http://127.0.0.1/${'x'.repeat(2048)}`, ['*']],
    ['http://169.254.169.254/', []],
  ])('%s is refused by %j', (url, hosts) => {
    expect(() => requireCallbackURL(url, hosts)).toThrow(/X-Callback-Url/)
  })
})

describe('callback signature', () => {
  const body = Buffer.from('{"done":true}')
  const header = signCallback('the secret', body, 1000)
  const check = (more: { secret?: string; body?: Buffer; header?: string; nowSeconds?: number }) =>
    verifyCallback(more.secret ?? 'the secret', more.body ?? body, more.header ?? header, {
      nowSeconds: more.nowSeconds ?? 1010,
      ageSecondsMax: 300,
    })

  it('holds for what was signed, and for nothing else', () => {
    expect(check({})).toBe(true)
    expect(check({ secret: 'another' })).toBe(false)
    expect(check({ body: Buffer.from('{"done":false}') })).toBe(false)
    expect(check({ header: header.replace('t=1000', 't=1001') })).toBe(false)
    expect(check({ header: 'v1=abc' })).toBe(false)
  })

  it('ends: an old delivery cannot be sent again', () => {
    expect(check({ nowSeconds: 1301 })).toBe(false)
    expect(check({ nowSeconds: 600 })).toBe(false)
  })
})
