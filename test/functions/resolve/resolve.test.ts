import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import resolve from '../../../functions/resolve/handler.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { createFunctionApp } from '../../../shared/function/host.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'

const PUT_BYTES_MAX = 1024 * 1024

let daemon: MemoryDaemon
let app: FastifyInstance
let token: string
let url: string

beforeAll(async () => {
  daemon = await startMemoryDaemon({ putBytesMax: PUT_BYTES_MAX })
  token = await daemon.tokens.create()
  app = await createFunctionApp(resolve, {
    name: 'resolve',
    env: {
      BZZZ_ENDPOINT: daemon.url,
      BZZZ_TOKEN_KEYS_FILE: daemon.tokens.keysFile,
      BZZZ_PUT_BYTES_MAX: String(PUT_BYTES_MAX),
    },
    secretsDirs: [],
    log: createSilentLogger(),
    registry: new Registry(),
    signal: new AbortController().signal,
    version: 'test',
  })
  url = await app.listen({ host: '127.0.0.1', port: 0 })
})

afterAll(async () => {
  await app.close()
  await daemon.close()
})

function call(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers)
  if (!headers.has('authorization')) headers.set('authorization', `Bearer ${token}`)
  return fetch(`${url}/${path}`, { ...init, headers })
}

function put(path: string, body: string | Buffer, headers: Record<string, string> = {}) {
  return call(path, { method: 'PUT', body: new Uint8Array(Buffer.from(body)), headers })
}

describe('resolve: the main job', () => {
  it('stores content under an address and reads the same bytes', async () => {
    const text = 'the plan\n'
    const stored = await put('reviewer:lead@apollo:42/plan.md', text, {
      'content-type': 'text/markdown',
    })
    expect(stored.status).toBe(201)
    const hash = hashBytes(Buffer.from(text))
    expect(await stored.json()).toEqual({
      address: 'bzzz://reviewer:lead@apollo:42/plan.md',
      version: 1,
      hash,
      size: text.length,
      mediaType: 'text/markdown',
      replicas: [daemon.peerId],
    })
    const read = await call('reviewer:lead@apollo:42/plan.md')
    expect(read.status).toBe(200)
    expect(await read.text()).toBe(text)
    expect(Object.fromEntries(read.headers)).toMatchObject({
      etag: `"${hash}"`,
      'bzzz-address': 'bzzz://reviewer:lead@apollo:42/plan.md',
      'bzzz-version': '1',
      'bzzz-author': daemon.peerId,
      'bzzz-served-by': daemon.peerId,
      'content-type': 'text/markdown',
    })
    const byHash = await call(`b3/${hash}`)
    expect(await byHash.text()).toBe(text)
    expect(byHash.headers.get('cache-control')).toContain('immutable')
  })

  it('answers the same content with 200 and the version that stands', async () => {
    expect((await put('a@p/same', 'x')).status).toBe(201)
    const again = await put('a@p/same', 'x')
    expect(again.status).toBe(200)
    expect(await again.json()).toMatchObject({ version: 1 })
  })

  it('finds one address under every way to write it', async () => {
    await put('Agent@Proj/caf%C3%A9', 'x')
    const read = await call('agent@proj/cafe%CC%81')
    expect(read.status).toBe(200)
    expect(read.headers.get('bzzz-address')).toBe('bzzz://agent@proj/caf%C3%A9')
  })

  it('answers HEAD with the headers and no body', async () => {
    await put('a@p/head', 'four')
    const head = await call('a@p/head', { method: 'HEAD' })
    expect(head.status).toBe(200)
    expect(head.headers.get('content-length')).toBe('4')
    expect(await head.text()).toBe('')
    const hash = hashBytes(Buffer.from('four'))
    const content = await call(`b3/${hash}`, { method: 'HEAD' })
    expect(content.headers.get('content-length')).toBe('4')
  })

  it('serves ranges and conditional reads', async () => {
    const { hash } = (await (await put('a@p/range', '0123456789')).json()) as { hash: string }
    const part = await call('a@p/range', { headers: { range: 'bytes=2-4' } })
    expect(part.status).toBe(206)
    expect(part.headers.get('content-range')).toBe('bytes 2-4/10')
    expect(await part.text()).toBe('234')
    const same = await call('a@p/range', { headers: { 'if-none-match': `"${hash}"` } })
    expect(same.status).toBe(304)
    const beyond = await call('a@p/range', { headers: { range: 'bytes=10-' } })
    expect(beyond.status).toBe(416)
    expect(beyond.headers.get('content-range')).toBe('bytes */10')
  })

  it('keeps content that is larger than memory is meant to hold streaming', async () => {
    const bytes = Buffer.alloc(700_000, 'abc')
    expect((await put('a@p/large', bytes)).status).toBe(201)
    const read = await call('a@p/large')
    expect(read.headers.get('content-length')).toBe(String(bytes.length))
    expect(Buffer.from(await read.arrayBuffer()).equals(bytes)).toBe(true)
  })

  it('answers the record alone with ?record', async () => {
    await put('a@p/record', 'x', { 'content-type': 'text/plain' })
    const record = await (await call('a@p/record?record')).json()
    expect(record).toMatchObject({ version: 1, mediaType: 'text/plain', forks: 0 })
  })
})

describe('resolve: versions', () => {
  it('makes a write conditional and answers 409 with the current record', async () => {
    const one = (await (await put('a@p/cas', 'one')).json()) as { hash: string }
    expect((await put('a@p/cas', 'two', { 'if-match': `"${one.hash}"` })).status).toBe(201)
    for (const stale of [
      put('a@p/cas', 'three', { 'if-match': `"${one.hash}"` }),
      put('a@p/cas?version=1', 'three'),
      put('a@p/cas', 'three', { 'if-none-match': '*' }),
    ]) {
      const answer = await stale
      expect(answer.status).toBe(409)
      expect(await answer.json()).toMatchObject({
        error: { code: 'BZZZ_VERSION_CONFLICT' },
        current: { version: 2, hash: hashBytes(Buffer.from('two')) },
      })
    }
    expect((await put('a@p/cas?version=2', 'three')).status).toBe(201)
  })

  it('reads the past by version and by moment', async () => {
    await put('a@p/past', 'one')
    const between = new Date().toISOString()
    await new Promise((resolve) => setTimeout(resolve, 5))
    await put('a@p/past', 'two')
    expect(await (await call('a@p/past?v=1')).text()).toBe('one')
    expect(await (await call('a@p/past?v=2')).text()).toBe('two')
    expect(await (await call(`a@p/past?at=${between}`)).text()).toBe('one')
    const missing = await call('a@p/past?v=3')
    expect(missing.status).toBe(404)
    expect(await missing.json()).toMatchObject({ error: { code: 'BZZZ_VERSION_NOT_FOUND' } })
  })

  it('lists versions newest first, in pages', async () => {
    for (const text of ['1', '2', '3', '4', '5']) await put('a@p/list', text)
    const first = (await (await call('a@p/list?history&limit=2')).json()) as Page
    expect(first.records.map((record) => record.version)).toEqual([5, 4])
    const second = (await (
      await call(`a@p/list?history&limit=2&before=${first.next}`)
    ).json()) as Page
    expect(second.records.map((record) => record.version)).toEqual([3, 2])
    const last = (await (await call('a@p/list?history&before=2')).json()) as Page
    expect(last.records.map((record) => record.version)).toEqual([1])
    expect(last.next).toBeNull()
  })
})

interface Page {
  records: { version: number }[]
  next: number | null
}

describe('resolve: bad input', () => {
  async function expectError(answer: Promise<Response>, status: number, code: string) {
    const response = await answer
    const body = (await response.json()) as { error: Record<string, string> }
    expect({ status: response.status, code: body.error['code'] }).toEqual({ status, code })
    expect(body.error['message']).toMatch(/^[A-Z].*\.$/)
    expect(body.error['requestId']).toBe(response.headers.get('request-id'))
  }

  it.each([
    ['no-at-sign/x', 'BZZZ_ADDRESS_INVALID'],
    ['a@p/%2e%2e/x', 'BZZZ_ADDRESS_INVALID'],
    ['a@p/x%00', 'BZZZ_ADDRESS_INVALID'],
    ['a@p/%zz', 'BZZZ_REQUEST_INVALID'],
    ['a@p/x?v=0', 'BZZZ_ADDRESS_INVALID'],
    ['a@p/x?nonsense=1', 'BZZZ_ADDRESS_INVALID'],
    ['b3/123', 'BZZZ_ADDRESS_INVALID'],
    ['', 'BZZZ_ADDRESS_INVALID'],
  ])('refuses %s', async (path, code) => {
    await expectError(call(path), 400, code)
  })

  it('tells unknown addresses from unknown content', async () => {
    await expectError(call('a@p/nothing-here'), 404, 'BZZZ_ADDRESS_NOT_FOUND')
    await expectError(call(`b3/${'0'.repeat(64)}`), 404, 'BZZZ_BLOB_NOT_FOUND')
  })

  it('refuses a missing, a foreign and an expired token', async () => {
    const anonymous = fetch(`${url}/a@p/x`)
    await expectError(anonymous, 401, 'BZZZ_TOKEN_MISSING')
    const foreign = { headers: { authorization: 'Bearer bzzz_nonsense' } }
    await expectError(call('a@p/x', foreign), 401, 'BZZZ_TOKEN_INVALID')
    const old = await daemon.tokens.create({ lifetimeSeconds: -600 })
    const expired = { headers: { authorization: `Bearer ${old}` } }
    await expectError(call('a@p/x', expired), 401, 'BZZZ_TOKEN_EXPIRED')
  })

  it('refuses what the token does not cover', async () => {
    await put('a@apollo/secret', 'x')
    const viewer = await daemon.tokens.create({ role: 'viewer' })
    const asViewer = { authorization: `Bearer ${viewer}` }
    await expectError(put('a@apollo/secret', 'y', asViewer), 403, 'BZZZ_SCOPE_MISSING')
    expect((await call('a@apollo/secret', { headers: asViewer })).status).toBe(200)
    const other = await daemon.tokens.create({ projects: ['gemini'] })
    const asOther = { authorization: `Bearer ${other}` }
    await expectError(call('a@apollo/secret', { headers: asOther }), 403, 'BZZZ_SCOPE_MISSING')
    await expectError(put('a@apollo/secret', 'y', asOther), 403, 'BZZZ_SCOPE_MISSING')
  })

  it('refuses a body over the limit before and while it is read', async () => {
    const large = Buffer.alloc(PUT_BYTES_MAX + 1)
    await expectError(put('a@p/too-large', large), 413, 'BZZZ_BODY_TOO_LARGE')
    const chunked = new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(256 * 1024))
      },
    })
    const endless = call('a@p/too-large', {
      method: 'PUT',
      body: chunked,
      duplex: 'half',
    } as RequestInit)
    await expectError(endless, 413, 'BZZZ_BODY_TOO_LARGE')
    await expectError(call('a@p/too-large'), 404, 'BZZZ_ADDRESS_NOT_FOUND')
  })

  it('stores nothing of an upload that is cut', async () => {
    const before = await daemon.store.usage()
    const controller = new AbortController()
    const body = new ReadableStream({
      start(stream) {
        stream.enqueue(new Uint8Array(1000))
        setTimeout(() => controller.abort(), 50)
      },
    })
    const cut = call('a@p/cut', {
      method: 'PUT',
      body,
      duplex: 'half',
      signal: controller.signal,
    } as RequestInit)
    await expect(cut).rejects.toThrow()
    await expectError(call('a@p/cut'), 404, 'BZZZ_ADDRESS_NOT_FOUND')
    expect(await daemon.store.usage()).toEqual(before)
  })

  it('refuses to write content by its hash, or to a version', async () => {
    await expectError(put(`b3/${'0'.repeat(64)}`, 'x'), 400, 'BZZZ_ADDRESS_INVALID')
    await expectError(put('a@p/x?v=1', 'x'), 400, 'BZZZ_ADDRESS_INVALID')
    await expectError(put('a@p/x?version=abc', 'x'), 400, 'BZZZ_REQUEST_INVALID')
    await expectError(put('a@p/x', 'x', { 'if-match': 'W/"1"' }), 400, 'BZZZ_REQUEST_INVALID')
  })
})
