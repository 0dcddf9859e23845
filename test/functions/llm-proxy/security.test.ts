import { writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join, relative } from 'node:path'

import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'

import { post, startProxy, type TestProxy } from '../../helpers/llm-proxy.ts'
import { json, MockUpstream } from '../../helpers/mock-upstream.ts'

const PATIENCE = { timeout: 60_000, interval: 50 }

let mock: MockUpstream
/** A server of somebody else, which nothing may reach. */
let other: MockUpstream
let proxy: TestProxy

beforeAll(async () => {
  mock = await MockUpstream.start()
  other = await MockUpstream.start()
  const azure = {
    type: 'azure',
    baseURL: mock.url.replace('/v1', '/openai'),
    apiVersion: '2025-04-01',
    apiKeyFile: 'key',
    models: ['gpt-4o*'],
    deployments: { 'gpt-4o': 'team' },
  }
  proxy = await startProxy({
    config: {
      upstreams: { main: { baseURL: mock.url, models: ['m*', 'http*'] }, azure },
      retries: { attempts: 1 },
    },
    secrets: { key: 'azure-key' },
  })
})

afterAll(async () => {
  await proxy.close()
  await mock.close()
  await other.close()
})

beforeEach(() => {
  mock.reset()
  other.reset()
})

/** As it stands, without a client that would make a proper URL of it. */
function raw(path: string, headers: Record<string, string> = {}): Promise<number> {
  const { hostname, port } = new URL(proxy.baseURL)
  return new Promise((resolve, reject) => {
    const asked = request({
      hostname,
      port,
      path,
      headers: { authorization: `Bearer ${proxy.token}`, ...headers },
    })
    asked.on('error', reject)
    asked.on('response', (answer) => {
      answer.resume()
      resolve(answer.statusCode ?? 0)
    })
    asked.end()
  })
}

describe('llm-proxy: what a caller can reach', () => {
  it('reaches the host and the path of the configuration, whatever the model is called', async () => {
    for (const model of [
      `m@${new URL(other.url).host}`,
      `m/../../admin`,
      `m\r\nhost: ${new URL(other.url).host}`,
      `${other.url}/x`,
      'm?api-version=1#',
    ]) {
      await proxy.call('/chat/completions', post({ model, messages: [] }))
    }
    expect(other.calls).toHaveLength(0)
    expect(new Set(mock.calls.map(({ path }) => path))).toEqual(new Set(['/v1/chat/completions']))
    const host = new URL(mock.url).host
    expect(mock.calls.every(({ headers }) => headers.host === host)).toBe(true)
  })

  it('reaches nothing by what it puts into headers and bodies', async () => {
    const { host } = new URL(other.url)
    const headers = {
      'x-forwarded-host': host,
      'x-portkey-custom-host': other.url,
      'openai-organization': 'org-of-somebody',
      'x-base-url': other.url,
      cookie: 'session=1',
    }
    const body = { model: 'm', messages: [], base_url: other.url, api_base: other.url }
    await proxy.call('/chat/completions', post(body, headers))
    expect(other.calls).toHaveLength(0)
    const sent = mock.last.headers
    expect(Object.keys(sent).filter((name) => name in headers)).toEqual([])
    expect(JSON.stringify(sent)).not.toContain(proxy.token)
  })

  it('takes no id that leads elsewhere', async () => {
    const paths = [
      '/v1/files/..%2f..%2fadmin',
      '/v1/files/%2e%2e',
      '/v1/responses/..%2Fmodels/cancel',
      '/v1/files/a%0d%0ab',
      `/v1/files/${encodeURIComponent(other.url)}`,
      '/v1/files/x%3Fy=1/content',
    ]
    for (const path of paths) expect(await raw(path), path).toBeGreaterThanOrEqual(400)
    expect(await raw(`${other.url}/files/x`)).toBeGreaterThanOrEqual(200)
    expect(other.calls).toHaveLength(0)
    expect(mock.calls.filter(({ path }) => !/^\/(v1|openai)\/files\/x/.test(path))).toEqual([])
  })

  it('cannot choose a deployment or a version of Azure’s', async () => {
    mock.otherwise = json({})
    await proxy.call('/chat/completions', post({ model: 'gpt-4o', messages: [] }))
    expect(mock.last.path).toBe('/openai/deployments/team/chat/completions?api-version=2025-04-01')
    expect(mock.last.headers['api-key']).toBe('azure-key')
    expect(mock.last.headers.authorization).toBeUndefined()
    for (const model of ['gpt-4o/../../../admin?x=', 'gpt-4o%2e', 'gpt-4o?', 'gpt-4o\r\n']) {
      const asked = post({ model, messages: [] })
      const answer = await proxy.call('/chat/completions?api-version=1999', asked)
      expect(answer.status, model).toBe(404)
    }
    await proxy.call(
      '/chat/completions?api-version=1999',
      post({ model: 'gpt-4o-b', messages: [] }),
    )
    expect(mock.last.path).toBe(
      '/openai/deployments/gpt-4o-b/chat/completions?api-version=2025-04-01',
    )
  })

  it.each([301, 302, 303, 307, 308])(
    'is led nowhere by an upstream that answers %i',
    async (to) => {
      mock.otherwise = json({}, to, { location: `${other.url}/chat/completions` })
      const asked = post({ model: 'm', messages: [] })
      const answer = await proxy.call('/chat/completions', { ...asked, redirect: 'manual' })
      expect(answer.status).toBe(502)
      expect(answer.headers.get('location')).toBeNull()
      expect(await answer.json()).toMatchObject({ error: { code: 'BZZZ_UPSTREAM_UNREACHABLE' } })
      const list = await proxy.call('/models', { redirect: 'manual' })
      expect(await list.json()).toMatchObject({ object: 'list' })
      expect(other.calls).toHaveLength(0)
    },
  )

  it('cannot speak in the name of the proxy', async () => {
    mock.next(json({}, 200, { 'bzzz-exchange': 'bzzz://x@y/z', 'set-cookie': 'a=1' }))
    const answer = await proxy.call('/chat/completions', post({ model: 'm', messages: [] }))
    expect(answer.headers.get('bzzz-exchange')).toBeNull()
    expect(answer.headers.get('set-cookie')).toBeNull()
    expect(answer.headers.get('bzzz-upstream')).toBe('main')
  })

  it('is refused a project that the token does not cover, before a body is read', async () => {
    const token = await proxy.tokens.create({ role: 'agent', projects: ['apollo'] })
    const asked = (headers: Record<string, string>) =>
      proxy.call(
        '/chat/completions',
        post({ model: 'm', messages: [] }, { authorization: `Bearer ${token}`, ...headers }),
      )
    expect((await asked({})).status).toBe(200)
    expect((await asked({ 'bzzz-project': 'gemini' })).status).toBe(403)
    expect((await asked({ 'bzzz-thread': 'bzzz://a@gemini/talk' })).status).toBe(403)
    expect(mock.calls).toHaveLength(1)
  })
})

describe('llm-proxy: what is configured', () => {
  it('reads a key again when its file changes', async () => {
    const ask = () => proxy.call('/chat/completions', post({ model: 'gpt-4o', messages: [] }))
    writeFileSync(join(proxy.folder, 'key'), 'another-key\n')
    await vi.waitFor(async () => {
      await ask()
      expect(mock.last.headers['api-key']).toBe('another-key')
    }, PATIENCE)
  })

  it('takes a new configuration, and keeps the old one where the new one is broken', async () => {
    const mine = await startProxy({ config: { upstreams: { old: { baseURL: mock.url } } } })
    const ask = async () =>
      (await mine.call('/chat/completions', post({ model: 'm', messages: [] }))).headers.get(
        'bzzz-upstream',
      )
    try {
      const file = join(mine.folder, 'llm.json')
      expect(await ask()).toBe('old')
      writeFileSync(file, 'upstreams: { new: { baseURL: "' + mock.url + '" } }')
      await vi.waitFor(async () => expect(await ask()).toBe('new'), PATIENCE)
      writeFileSync(file, 'upstreams: { broken: { baseURL: "ftp://x" } } # no such scheme')
      await new Promise((resolve) => setTimeout(resolve, 1_200))
      expect(await ask()).toBe('new')
    } finally {
      await mine.close()
    }
  })

  it('starts with no upstream, and says what to do', async () => {
    const empty = await startProxy({})
    try {
      const answer = await empty.call('/chat/completions', post({ model: 'm', messages: [] }))
      expect(answer.status).toBe(503)
      expect(await answer.json()).toMatchObject({
        error: {
          code: 'BZZZ_UPSTREAM_MISSING',
          message: expect.stringContaining('OPENAI_API_KEY'),
        },
      })
      // A key that comes later is found.
      writeFileSync(join(empty.folder, 'openai-api-key'), 'sk-late')
      const models = await empty.call('/models')
      expect(models.status).toBe(200)
    } finally {
      await empty.close()
    }
  })

  it('takes one upstream from the variables of OpenAI’s own clients', async () => {
    const env = { OPENAI_BASE_URL: mock.url, OPENAI_API_KEY: 'sk-env' }
    const plain = await startProxy({ env })
    try {
      await plain.call('/chat/completions', post({ model: 'm', messages: [] }))
      expect(mock.last.headers.authorization).toBe('Bearer sk-env')
    } finally {
      await plain.close()
    }
  })

  it.each([
    ['as it stands', (path: string) => path],
    ['from the folder that the process is in', (path: string) => `./${relative('.', path)}`],
  ])('reads OPENAI_API_KEY_FILE, a path %s', async (_, write) => {
    const path = join(proxy.folder, 'file-of-a-key')
    writeFileSync(path, 'sk-file\n')
    const env = { OPENAI_BASE_URL: mock.url, OPENAI_API_KEY_FILE: write(path) }
    const plain = await startProxy({ env })
    try {
      await plain.call('/chat/completions', post({ model: 'm', messages: [] }))
      expect(mock.last.headers.authorization).toBe('Bearer sk-file')
    } finally {
      await plain.close()
    }
  })

  it('reads a key whose path is written from the folder of the configuration', async () => {
    const upstreams = { main: { baseURL: mock.url, apiKeyFile: './key' } }
    const mine = await startProxy({ config: { upstreams }, secrets: { key: 'sk-near' } })
    try {
      await mine.call('/chat/completions', post({ model: 'm', messages: [] }))
      expect(mock.last.headers.authorization).toBe('Bearer sk-near')
    } finally {
      await mine.close()
    }
  })

  it('tells all mistakes of a file at once and does not start', async () => {
    const config = {
      upstreams: { a: { baseURL: 'nonsense', odd: 1 }, B: { type: 'azure', baseURL: mock.url } },
      models: { fast: [{ upstream: 'nobody' }] },
    }
    const started = startProxy({ config })
    await expect(started).rejects.toMatchObject({
      code: 'BZZZ_CONFIG_INVALID',
      message: expect.stringMatching(/upstreams\.a[\s\S]*upstreams\.B/),
    })
  })
})
