import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import type { TokenRequest } from '../../../shared/auth/token.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'

let daemon: MemoryDaemon

beforeAll(async () => {
  daemon = await startMemoryDaemon()
})

afterAll(() => daemon.close())

interface Call {
  method?: string
  body?: unknown
  headers?: Record<string, string>
  as?: Partial<TokenRequest>
}

async function call(path: string, { method = 'GET', body, headers, as }: Call = {}) {
  const answer = await fetch(`${daemon.url}/v1/agents${path}`, {
    method,
    headers: {
      authorization: `Bearer ${await daemon.tokens.create(as)}`,
      ...headers,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  return { status: answer.status, body: text === '' ? null : JSON.parse(text) }
}

const put = (agent: string, body: unknown = {}, as?: Partial<TokenRequest>) =>
  call(`/${agent}`, { method: 'PUT', body, ...(as && { as }) })

describe('/v1/agents', () => {
  it('registers an agent, lists it, renews and withdraws it', async () => {
    const capabilities = { skills: ['review'], models: ['llama-3'] }
    const registered = await put('Reviewer@Apollo', { role: 'lead', capabilities, lease: '1m' })
    expect(registered.status).toBe(201)
    const described = {
      agent: 'reviewer@apollo',
      name: 'reviewer',
      project: 'apollo',
      role: 'lead',
      capabilities: { ...capabilities, tools: [] },
      endpoint: null,
      load: 0,
      node: { peerId: daemon.peerId, name: 'walnut' },
      registeredAt: expect.any(String),
      leaseSeconds: 60,
      expiresInSeconds: 60,
    }
    expect(registered.body).toEqual(described)
    const listed = { ...described, expiresInSeconds: expect.any(Number) }
    expect((await call('?capability=review')).body).toEqual({ agents: [listed], next: null })
    expect((await call('/reviewer@apollo')).body).toEqual(listed)
    expect((await put('reviewer@apollo', { load: 0.5 })).status).toBe(200)
    const beat = { method: 'POST', body: { load: 1 } }
    expect((await call('/reviewer@apollo/heartbeat', beat)).body).toMatchObject({ load: 1 })
    expect(await call('/reviewer@apollo', { method: 'DELETE' })).toEqual({
      status: 204,
      body: null,
    })
    for (const gone of [
      await call('/reviewer@apollo'),
      await call('/reviewer@apollo', { method: 'DELETE' }),
      await call('/reviewer@apollo/heartbeat', { method: 'POST', body: {} }),
    ]) {
      expect(gone).toMatchObject({ status: 404, body: { error: { code: 'BZZZ_AGENT_NOT_FOUND' } } })
    }
  })

  it('lists in pages, also what is asked anew', async () => {
    for (const name of ['one', 'three', 'two']) await put(`${name}@pages`, { lease: '1h' })
    const headers = { 'cache-control': 'no-cache' }
    const first = await call('?project=pages&limit=2', { headers })
    expect(first.body.agents.map(({ name }: { name: string }) => name)).toEqual(['one', 'three'])
    expect(first.body.next).toBe('three@pages')
    const second = await call('?project=pages&limit=2&after=three@pages')
    expect(second.body).toMatchObject({ agents: [{ name: 'two' }], next: null })
    expect((await call('?project=pages&capability=none', { headers })).body.agents).toEqual([])
  })

  it('shows and changes nothing outside of the projects of a token', async () => {
    await put('secret@zeus', { lease: '1h' })
    await put('open@hera', { lease: '1h' })
    const as = { projects: ['hera*'], role: 'agent' as const }
    const seen = (await call('?limit=500', { as })).body.agents
    expect(seen.map(({ agent }: { agent: string }) => agent)).toEqual(['open@hera'])
    const refusals = [
      await call('?project=zeus', { as }),
      await call('/secret@zeus', { as }),
      await call('/secret@zeus', { as, method: 'DELETE' }),
      await call('/secret@zeus/heartbeat', { as, method: 'POST', body: {} }),
      await put('secret@zeus', {}, as),
    ]
    expect(refusals.map(({ status }) => status)).toEqual([403, 403, 403, 403, 403])
    const viewer = { role: 'viewer' as const }
    expect((await put('open@hera', {}, viewer)).status).toBe(403)
    expect((await call('/open@hera', { as: viewer })).status).toBe(200)
  })

  it.each([
    ['a name without a project', 'reviewer', {}],
    ['a name that is no label', 're%20viewer@apollo', {}],
    ['a lease below the least', 'a@apollo', { lease: '1s' }],
    ['a lease above the most', 'a@apollo', { lease: '2h' }],
    ['an endpoint with a password', 'a@apollo', { endpoint: 'http://u:p@host/' }],
    ['a load above full', 'a@apollo', { load: 2 }],
    ['a field that is none', 'a@apollo', { capabilites: {} }],
    ['a role in upper case', 'a@apollo', { role: 'Lead' }],
  ])('refuses %s with 400', async (_what, agent, body) => {
    expect((await put(agent, body)).status).toBe(400)
  })
})
