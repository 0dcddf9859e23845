import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import type { Auditor } from '../../../shared/auth/audited.ts'
import { createKeyFileVerifier } from '../../../shared/auth/key-file.ts'
import { authPlugin, requireProject } from '../../../shared/auth/plugin.ts'
import { AuditUnavailableError } from '../../../shared/errors.ts'
import { createService } from '../../../shared/http/service.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { createTestTokens, type TestTokens } from '../../helpers/tokens.ts'

let folder: string
let tokens: TestTokens
let app: FastifyInstance
let registry: Registry
let revoked: Set<string>

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'bzzz-auth-'))
  tokens = await createTestTokens(folder)
  registry = new Registry()
  revoked = new Set()
  app = createService({ log: createSilentLogger(), registry })
  await app.register(authPlugin, {
    verify: await createKeyFileVerifier(tokens.keysFile),
    isRevoked: (id) => revoked.has(id),
    registry,
  })
  app.get('/blobs', { config: { scope: 'blob:read' } }, () => ({ fine: true }))
  const every = { config: { scope: 'blob:read', projects: 'every' } } as const
  app.get('/all-blobs', every, () => ({ fine: true }))
  app.post('/drain', { config: { scope: 'node:manage' } }, () => ({ fine: true }))
  app.get<{ Params: { project: string } }>(
    '/of/:project',
    { config: { scope: 'blob:read' } },
    (request) => {
      requireProject(request, request.params.project)
      return { id: request.claims?.id }
    },
  )
})

afterEach(async () => {
  await app.close()
  rmSync(folder, { recursive: true })
})

async function ask(
  url: string,
  token: string,
  {
    method = 'GET',
    remoteAddress = '10.0.0.1',
  }: { method?: 'GET' | 'POST'; remoteAddress?: string } = {},
) {
  const headers = token === '' ? {} : { authorization: `Bearer ${token}` }
  const answer = await app.inject({ method, url, headers, remoteAddress })
  return {
    status: answer.statusCode,
    headers: answer.headers,
    ...answer.json<{ error?: { code: string } }>(),
  }
}

describe('auth plugin', () => {
  it('lets no route be registered that names no scope', () => {
    const other = createService({ log: createSilentLogger(), registry: new Registry() })
    other.register(authPlugin, { verify: () => Promise.reject(new Error('never asked')) })
    other.register(async (scope) => {
      scope.get('/open', () => 'x')
    })
    return expect(other.ready()).rejects.toThrow('Route /open names no scope.')
  })

  it('admits by scope', async () => {
    const viewer = await tokens.create({ role: 'viewer' })
    expect(await ask('/blobs', viewer)).toMatchObject({ status: 200 })
    expect(await ask('/drain', viewer, { method: 'POST' })).toMatchObject({
      status: 403,
      error: { code: 'BZZZ_SCOPE_MISSING' },
    })
    const operator = await tokens.create({ role: 'operator' })
    expect(await ask('/drain', operator, { method: 'POST' })).toMatchObject({ status: 200 })
  })

  it('admits by project, and to what concerns all projects only those with all', async () => {
    const limited = await tokens.create({ role: 'admin', projects: ['apollo', 'team-*'] })
    for (const project of ['apollo', 'team-', 'team-red', 'APOLLO']) {
      expect(await ask(`/of/${project}`, limited)).toMatchObject({ status: 200 })
    }
    for (const project of [
      'apollo2',
      'team',
      'gemini',
      '*',
      'team-*',
      '%2e%2eapollo',
      'apollo%00',
    ]) {
      expect(await ask(`/of/${project}`, limited), project).toMatchObject({ status: 403 })
    }
    expect(await ask('/all-blobs', limited)).toMatchObject({ status: 403 })
    expect(await ask('/drain', limited, { method: 'POST' })).toMatchObject({ status: 403 })
    expect(await ask('/all-blobs', await tokens.create())).toMatchObject({ status: 200 })
  })

  it('refuses a revoked token, also one that it has let through before', async () => {
    const token = await tokens.create()
    const { id } = (await ask('/of/apollo', token)) as unknown as { id: string }
    revoked.add(id)
    expect(await ask('/blobs', token)).toMatchObject({
      status: 401,
      error: { code: 'BZZZ_TOKEN_REVOKED' },
    })
    expect(await ask('/blobs', await tokens.create())).toMatchObject({ status: 200 })
  })

  it('tells an address with too many bad tokens to wait, and lets good ones through', async () => {
    const bad = () => ask('/blobs', 'bzzz_bad')
    for (let count = 0; count < 60; count += 1) expect(await bad()).toMatchObject({ status: 401 })
    const throttled = await bad()
    expect(throttled).toMatchObject({ status: 429, error: { code: 'BZZZ_AUTH_THROTTLED' } })
    expect(Number(throttled.headers['retry-after'])).toBeGreaterThan(0)
    // Fresh ones too: nothing is remembered of them.
    expect(await ask('/blobs', await tokens.create())).toMatchObject({ status: 200 })
    expect(await ask('/blobs', 'bzzz_bad', { remoteAddress: '10.0.0.2' })).toMatchObject({
      status: 401,
    })
    const counted = await registry.getSingleMetric('bzzz_auth_refused_total')!.get()
    expect(counted.values).toEqual([
      expect.objectContaining({ labels: { code: 'BZZZ_TOKEN_INVALID' }, value: 62 }),
    ])
  })

  it('does not count what a good token may not do', async () => {
    const viewer = await tokens.create({ role: 'viewer' })
    for (let count = 0; count < 70; count += 1) {
      expect(await ask('/drain', viewer, { method: 'POST' })).toMatchObject({ status: 403 })
    }
    expect(await ask('/blobs', '')).toMatchObject({ status: 401 })
  })
})

describe('auth plugin with an audit', () => {
  type Told = Parameters<Auditor['record']>[0]

  let told: Told[]
  let room: boolean
  let audited: FastifyInstance

  beforeEach(async () => {
    told = []
    room = true
    audited = createService({ log: createSilentLogger(), registry: new Registry() })
    const assertRoom = () => {
      if (!room) throw new AuditUnavailableError('no room', 5)
    }
    await audited.register(authPlugin, {
      verify: await createKeyFileVerifier(tokens.keysFile),
      audit: { assertRoom, record: (event) => void told.push(event) },
    })
    const write = { scope: 'blob:write' } as const
    audited.put('/thing/:id', { config: write }, () => ({ fine: true }))
    audited.get('/thing/:id', { config: { scope: 'blob:read' } }, () => ({ fine: true }))
    audited.post('/search', { config: { ...write, audit: false } }, () => ({ fine: true }))
    const secret = { ...write, audit: 'no-arguments' } as const
    audited.post('/secret', { config: secret }, () => ({ fine: true }))
    audited.post('/open', { config: { public: true } }, () => ({ fine: true }))
  })

  afterEach(() => audited.close())

  async function send(method: 'GET' | 'PUT' | 'POST', url: string, token: string, payload = {}) {
    const headers = { authorization: `Bearer ${token}` }
    const body = method === 'GET' ? {} : { payload }
    return (await audited.inject({ method, url, headers, ...body })).statusCode
  }

  it('tells of what may change something, under the name of who asked for it', async () => {
    const token = await tokens.create({ role: 'agent' })
    expect(await send('PUT', '/thing/7', token)).toBe(200)
    expect(await send('GET', '/thing/7', token)).toBe(200)
    expect(await send('POST', '/search', token)).toBe(200)
    expect(await send('POST', '/open', token)).toBe(200)
    expect(await send('POST', '/nowhere', token)).toBe(404)
    const viewer = await tokens.create({ role: 'viewer', subject: 'bob' })
    expect(await send('PUT', '/thing/8', viewer)).toBe(403)
    expect(await send('PUT', '/thing/9', 'bzzz_bad')).toBe(401)
    const id = tokens.idOf(token)
    expect(told).toMatchObject([
      {
        actor: 'test',
        tokenId: id,
        action: 'PUT /thing/:id',
        resource: '/thing/7',
        outcome: 'allow',
      },
      { actor: 'bob', resource: '/thing/8', outcome: 'deny', status: 403 },
      { actor: '', tokenId: '', resource: '/thing/9', outcome: 'deny', status: 401 },
    ])
  })

  it('hashes what was given, and secrets not at all', async () => {
    const token = await tokens.create({ role: 'agent' })
    for (const given of [{ a: 1 }, { a: 2 }, { a: 1 }]) await send('PUT', '/thing/7', token, given)
    const hashes = told.map(({ argumentsHash }) => argumentsHash)
    expect(hashes[0]).toMatch(/^[0-9a-f]{64}$/)
    expect(hashes[1]).not.toBe(hashes[0])
    expect(hashes[2]).toBe(hashes[0])
    await send('POST', '/secret', token, { value: 'hunter2' })
    expect(told.at(-1)).toMatchObject({ action: 'POST /secret', argumentsHash: '' })
  })

  it('refuses what it could not write down before it is done, and reads go on', async () => {
    const token = await tokens.create({ role: 'agent' })
    room = false
    expect(await send('PUT', '/thing/7', token)).toBe(503)
    expect(await send('PUT', '/thing/7', 'bzzz_bad')).toBe(503)
    expect(await send('GET', '/thing/7', token)).toBe(200)
    expect(told).toEqual([])
  })
})
