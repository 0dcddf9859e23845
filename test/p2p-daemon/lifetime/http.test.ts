import { request as httpRequest } from 'node:http'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'

let daemon: MemoryDaemon
let token: string

beforeEach(async () => {
  daemon = await startMemoryDaemon({ quotas: 'apollo=1000,small=10' })
  token = await daemon.tokens.create()
})

afterEach(async () => {
  await daemon.close()
})

async function call(
  method: string,
  path: string,
  body?: object | Buffer,
  options: { token?: string; headers?: Record<string, string> } = {},
) {
  const isBytes = Buffer.isBuffer(body)
  const response = await fetch(daemon.url + path, {
    method,
    headers: {
      authorization: `Bearer ${options.token ?? token}`,
      ...(body && !isBytes && { 'content-type': 'application/json' }),
      ...options.headers,
    },
    ...(body && { body: isBytes ? new Uint8Array(body) : JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, body: (text === '' ? {} : JSON.parse(text)) as Answer }
}

type Answer = Record<string, unknown> & { error?: { code: string } }

async function put(text: string, project?: string) {
  const headers = project === undefined ? {} : { 'bzzz-project': project }
  return call('PUT', '/v1/blobs', Buffer.from(text), { headers })
}

function name(address: string, text: string) {
  const body = { hash: hashBytes(Buffer.from(text)), mediaType: 'text/plain' }
  return call('PUT', `/v1/addresses?address=${encodeURIComponent(address)}`, body)
}

describe('/v1/pins', () => {
  it('pins, shows, lists and unpins', async () => {
    const hashes: string[] = []
    for (const text of ['one', 'two', 'three']) {
      await put(text)
      const hash = hashBytes(Buffer.from(text))
      hashes.push(hash)
      const pinned = await call('PUT', `/v1/pins/${hash}`, { reason: 'release' })
      expect(pinned).toMatchObject({ status: 201, body: { hash, reason: 'release' } })
    }
    const [first] = hashes as [string]
    expect((await call('PUT', `/v1/pins/${first}`)).status).toBe(200)
    expect(await call('GET', `/v1/pins/${first}`)).toMatchObject({
      status: 200,
      body: { hash: first, subject: 'test', reason: '' },
    })
    const page = (await call('GET', '/v1/pins?limit=2')).body
    const rest = (await call('GET', `/v1/pins?limit=2&after=${String(page['next'])}`)).body
    const listed = [page, rest].flatMap((each) => each['pins'] as { hash: string }[])
    expect(listed.map(({ hash }) => hash)).toEqual(hashes.toSorted())
    expect(rest['next']).toBeNull()
    expect((await call('DELETE', `/v1/pins/${first}`)).status).toBe(204)
    for (const method of ['GET', 'DELETE']) {
      const gone = await call(method, `/v1/pins/${first}`)
      expect(gone).toMatchObject({ status: 404, body: { error: { code: 'BZZZ_PIN_NOT_FOUND' } } })
    }
  })

  it('refuses what is not there, and who may only read', async () => {
    const nowhere = hashBytes(Buffer.from('nowhere'))
    expect(await call('PUT', `/v1/pins/${nowhere}`)).toMatchObject({
      status: 404,
      body: { error: { code: 'BZZZ_BLOB_NOT_FOUND' } },
    })
    const viewer = await daemon.tokens.create({ role: 'viewer' })
    expect((await call('GET', '/v1/pins', undefined, { token: viewer })).status).toBe(200)
    const refused = await call('PUT', `/v1/pins/${nowhere}`, undefined, { token: viewer })
    expect(refused).toMatchObject({ status: 403 })
  })
})

describe('/v1/leases and /v1/holds', () => {
  it('gives a lease and takes it back', async () => {
    await put('leased')
    const hash = hashBytes(Buffer.from('leased'))
    const before = Date.now()
    const given = await call('POST', '/v1/leases', { hash, ttl: '10m' })
    expect(given).toMatchObject({ status: 201, body: { hash, subject: 'test' } })
    const expiresMs = Date.parse(String(given.body['expiresAt']))
    expect(expiresMs).toBeGreaterThanOrEqual(before + 600_000)
    expect(expiresMs).toBeLessThanOrEqual(Date.now() + 600_000)
    const id = String(given.body['id'])
    expect((await call('GET', '/v1/leases')).body['leases']).toMatchObject([{ id, hash }])
    expect((await call('DELETE', `/v1/leases/${id}`)).status).toBe(204)
    expect(await call('DELETE', `/v1/leases/${id}`)).toMatchObject({
      status: 404,
      body: { error: { code: 'BZZZ_LEASE_NOT_FOUND' } },
    })
  })

  it('refuses times that are none or too long', async () => {
    await put('leased')
    const hash = hashBytes(Buffer.from('leased'))
    for (const ttl of ['0s', '31d', 'soon', '']) {
      expect((await call('POST', '/v1/leases', { hash, ttl })).status, ttl).toBe(400)
    }
  })

  it('holds collections, and says who does', async () => {
    const hold = { name: 'backup', ttl: '1h', reason: 'nightly' }
    expect((await call('POST', '/v1/holds', hold)).status).toBe(201)
    expect(await call('POST', '/v1/gc')).toMatchObject({
      status: 409,
      body: { error: { code: 'BZZZ_GC_HELD' } },
    })
    expect(await call('POST', '/v1/gc', { dryRun: true })).toMatchObject({ status: 200 })
    expect((await call('GET', '/v1/holds')).body['holds']).toMatchObject([
      { name: 'backup', subject: 'test', reason: 'nightly' },
    ])
    expect((await call('GET', '/v1/status')).body['gc']).toMatchObject({ hold: 'backup' })
    expect((await call('DELETE', '/v1/holds/backup')).status).toBe(204)
    expect((await call('DELETE', '/v1/holds/backup')).status).toBe(404)
  })
})

describe('/v1/gc and /v1/scrub', () => {
  it('says what a collection would find, runs one and shows it', async () => {
    await put('nobody names this')
    expect((await call('GET', '/v1/gc')).body).toEqual({ state: 'idle' })
    expect(await call('POST', '/v1/gc', { dryRun: true })).toMatchObject({
      status: 200,
      body: { state: 'ended', outcome: 'done', unreferenced: 1, candidates: 0, examples: [] },
    })
    const waited = await call('POST', '/v1/gc', { wait: true })
    expect(waited).toMatchObject({ status: 200, body: { state: 'ended', deleted: 0 } })
    expect((await call('POST', '/v1/gc')).status).toBe(202)
    await expect
      .poll(async () => (await call('GET', '/v1/gc')).body)
      .toMatchObject({ state: 'ended', outcome: 'done' })
    expect((await call('DELETE', '/v1/gc')).status).toBe(200)
  })

  it('reads everything again when asked', async () => {
    await put('to be read again')
    expect((await call('GET', '/v1/scrub')).body).toMatchObject({ state: 'idle' })
    expect((await call('POST', '/v1/scrub')).status).toBe(202)
    await expect
      .poll(async () => (await call('GET', '/v1/scrub')).body)
      .toMatchObject({ state: 'done', checked: 1, total: 1, bad: 0, bytes: 16 })
    expect((await call('DELETE', '/v1/scrub')).body).toMatchObject({ state: 'done' })
    expect((await call('GET', '/v1/status')).body['scrub']).toMatchObject({ state: 'done' })
  })

  it('are for administrators', async () => {
    const agent = await daemon.tokens.create({ role: 'agent' })
    for (const path of ['/v1/gc', '/v1/scrub', '/v1/holds']) {
      for (const method of ['GET', 'POST']) {
        const refused = await call(method, path, undefined, { token: agent })
        expect(refused.status, `${method} ${path}`).toBe(403)
      }
    }
  })
})

describe('/v1/quotas', () => {
  beforeEach(async () => {
    token = await daemon.tokens.create({ projects: ['apollo', 'zeus'] })
  })

  it('refuses the record that would go over the limit, and counts contents once', async () => {
    for (const text of ['a'.repeat(600), 'b'.repeat(401), 'c'.repeat(400)]) await put(text)
    expect((await name('agent@apollo/a', 'a'.repeat(600))).status).toBe(201)
    expect((await name('agent@apollo/again', 'a'.repeat(600))).status).toBe(201)
    expect(await name('agent@apollo/b', 'b'.repeat(401))).toMatchObject({
      status: 507,
      body: {
        error: { code: 'BZZZ_QUOTA_EXCEEDED' },
        quota: { project: 'apollo', used: 600, limit: 1000 },
      },
    })
    expect((await name('agent@zeus/b', 'b'.repeat(401))).status).toBe(201)
    expect((await name('agent@apollo/c', 'c'.repeat(400))).status).toBe(201)
    expect((await call('GET', '/v1/quotas')).body).toEqual({
      projects: [
        { project: 'apollo', used: 1000, reserved: 0, limit: 1000 },
        { project: 'zeus', used: 401, reserved: 0, limit: null },
      ],
      next: null,
    })
  })

  it('gives back what a writer that lost a race was granted', async () => {
    await put('x'.repeat(700))
    await put('y'.repeat(700))
    const body = { hash: hashBytes(Buffer.from('x'.repeat(700))), mediaType: 'text/plain' }
    const lost = await call('PUT', '/v1/addresses?address=agent@apollo/x', {
      ...body,
      ifVersion: 3,
    })
    expect(lost.status).toBe(409)
    expect((await name('agent@apollo/y', 'y'.repeat(700))).status).toBe(201)
  })

  it('refuses a body that is announced too long without reading it', async () => {
    const refused = await new Promise<{ status: number; sentAll: boolean }>((resolve, reject) => {
      const request = httpRequest(`${daemon.url}/v1/blobs`, {
        method: 'PUT',
        headers: {
          authorization: `Bearer ${token}`,
          'content-length': 1001,
          'bzzz-project': 'apollo',
        },
      })
      request.on('error', reject)
      request.on('response', (response) => {
        resolve({ status: response.statusCode!, sentAll: request.writableEnded })
        response.destroy()
      })
      request.flushHeaders()
    })
    expect(refused).toEqual({ status: 507, sentAll: false })
    expect((await put('z'.repeat(1000), 'apollo')).status).toBe(201)
    expect((await put('z'.repeat(1001))).status).toBe(201)
    expect(await put('tiny', 'small')).toMatchObject({
      status: 403,
      body: { error: { code: 'BZZZ_SCOPE_MISSING' } },
    })
    expect((await put('tiny', 'No Label')).status).toBe(400)
  })
})
