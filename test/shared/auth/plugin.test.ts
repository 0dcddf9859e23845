import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { FastifyInstance } from 'fastify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { createKeyFileVerifier } from '../../../shared/auth/key-file.ts'
import { authPlugin, requireProject } from '../../../shared/auth/plugin.ts'
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
