import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { modelRoutes } from '../../../p2p-daemon/http/models.ts'
import { composeModels } from '../../../p2p-daemon/models/compose.ts'
import { createKeyFileVerifier } from '../../../shared/auth/key-file.ts'
import { authPlugin } from '../../../shared/auth/plugin.ts'
import { createService } from '../../../shared/http/service.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { AgentMesh } from '../../helpers/agent-mesh.ts'
import { post, startProxy, type TestProxy } from '../../helpers/llm-proxy.ts'
import { startCluster, until, type TestCluster } from '../../helpers/mesh.ts'
import {
  chatEvents,
  events,
  failure,
  json,
  large,
  MockUpstream,
  resetInside,
  stall,
} from '../../helpers/mock-upstream.ts'

type Models = ReturnType<typeof composeModels>

let cluster: TestCluster
let proxy: TestProxy
let api: FastifyInstance
const servers: Record<string, MockUpstream> = {}
const models = new Map<string, Models>()

/** What the nodes share: ironwood one model, acacia the same and one of its own. */
const SHARED: Record<string, string[]> = {
  walnut: [],
  ironwood: ['llama3.2:3b'],
  acacia: ['llama3.2:3b', 'org/qwen-2.5'],
}

beforeAll(async () => {
  const agents = new AgentMesh()
  for (const name of Object.keys(SHARED)) servers[name] = await MockUpstream.start()
  cluster = await startCluster({
    names: Object.keys(SHARED),
    attach: (node) => {
      const attached = agents.attach(node)
      const composed = composeModels(
        { mesh: node.mesh, streams: node.mesh, agents: agents.of(node.name), log: node.log },
        { url: servers[node.name]!.url, shared: SHARED[node.name]!, renewIntervalMs: 200 },
      )
      models.set(node.name, composed)
      return [...attached, ...composed.parts]
    },
  })
  const walnut = models.get('walnut')!
  await until(() => walnut.caller.list().length === 2, 'the models of both nodes')
  await until(() => walnut.caller.list()[0]!.nodes.length > 0, 'who shares them')
  const log = createSilentLogger()
  api = createService({ log, registry: new Registry() })
  const holder = await startProxy({ config: { upstreams: {} } })
  await api.register(authPlugin, { verify: await createKeyFileVerifier(holder.tokens.keysFile) })
  await api.register(modelRoutes, { models: models.get('walnut')! })
  const url = await api.listen({ host: '127.0.0.1', port: 0 })
  proxy = await startProxy({
    config: { upstreams: { team: { type: 'mesh', coolDown: { failures: 100 } } } },
    env: { BZZZ_ENDPOINT: url, BZZZ_TOKEN_KEYS_FILE: holder.tokens.keysFile },
  })
  proxy.token = await holder.tokens.create({ role: 'agent' })
  closing = async () => {
    await proxy.close()
    await holder.close()
  }
})

let closing: () => Promise<void> = () => Promise.resolve()

afterAll(async () => {
  await closing()
  await api.close()
  await cluster.stop()
  for (const server of Object.values(servers)) await server.close()
})

beforeEach(() => {
  for (const server of Object.values(servers)) server.reset()
})

const peerOf = (name: string): string => cluster.node(name).nodeKey.peerId

const ask = (model: string, more: object = {}) =>
  proxy.call(
    '/chat/completions',
    post({ model, messages: [], ...more }, { authorization: `Bearer ${proxy.token}` }),
  )

const QWEN = 'org/qwen-2.5'

describe('models that nodes share', () => {
  it('are called from another node, which the answer names', async () => {
    const answer = await ask(QWEN)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('bzzz-upstream')).toBe('team')
    expect(answer.headers.get('bzzz-served-by')).toBe(peerOf('acacia'))
    expect(await answer.json()).toMatchObject({ x_unknown: { kept: true } })
    expect(servers['acacia']!.last.path).toBe('/v1/chat/completions')
    // The token of the caller is nothing that a server of somebody else needs.
    expect(JSON.stringify(servers['acacia']!.last.headers)).not.toContain('bzzz_')
  })

  it('stream byte for byte', async () => {
    const pieces = chatEvents()
    servers['acacia']!.next(events(pieces))
    const answer = await ask(QWEN, { stream: true, stream_options: { include_usage: true } })
    expect(await answer.text()).toBe(pieces.join(''))
  })

  it('are listed', async () => {
    const headers = { authorization: `Bearer ${proxy.token}` }
    const answer = await proxy.call('/models', { headers })
    const { data } = (await answer.json()) as { data: { id: string }[] }
    expect(data.map(({ id }) => id).toSorted()).toEqual(['llama3.2:3b', QWEN])
  })

  it('are called at the next node when one cannot serve', async () => {
    const servedBy = new Set<string | null>()
    for (const broken of ['ironwood', 'acacia']) {
      const other = broken === 'ironwood' ? 'acacia' : 'ironwood'
      const server = servers[broken]!
      await server.close()
      const answer = await ask('llama3.2:3b')
      expect(answer.status).toBe(200)
      expect(answer.headers.get('bzzz-served-by')).toBe(peerOf(other))
      servedBy.add(answer.headers.get('bzzz-served-by'))
      await server.reopen()
    }
    expect(servedBy.size).toBe(2)
  })

  it('hand on what their server answers', async () => {
    servers['acacia']!.next(failure(400))
    const answer = await ask(QWEN)
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ error: { code: 'mock_400' } })
  })

  it('end their call when the caller leaves', async () => {
    const server = servers['acacia']!
    server.next(stall(chatEvents().slice(0, 2)))
    const leaving = new AbortController()
    const headers = { authorization: `Bearer ${proxy.token}` }
    const body = post({ model: QWEN, messages: [], stream: true }, headers)
    const answer = await proxy.call('/chat/completions', { ...body, signal: leaving.signal })
    expect(answer.status).toBe(200)
    expect(server.last.abandoned).toBe(false)
    leaving.abort()
    await until(() => server.last.abandoned, 'the call at the other node to end')
  })

  it('break visibly when their server breaks', async () => {
    servers['acacia']!.next(resetInside(chatEvents().slice(0, 3)))
    const answer = await ask(QWEN, { stream: true })
    let text = ''
    const decoder = new TextDecoder()
    const read = async () => {
      for await (const chunk of answer.body!) text += decoder.decode(chunk)
    }
    await expect(read()).rejects.toThrow()
    expect(text).toContain('event: error')
  })

  it('wait for a caller who is slow, and send it all', async () => {
    const BYTES = 8 * 1024 * 1024
    servers['acacia']!.next(large(BYTES, 'text/plain'))
    const answer = await ask(QWEN)
    const reader = answer.body!.getReader()
    await new Promise((resolve) => setTimeout(resolve, 300))
    let received = 0
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      received += value.length
    }
    expect(received).toBe(BYTES)
  })

  it('are those that are shared, whatever a call names', async () => {
    const caller = models.get('walnut')!.caller
    const { signal } = new AbortController()
    const call = (model: string, body: string) =>
      caller.call({ path: '/chat/completions', model, accept: '*/*' }, Buffer.from(body), signal)
    await expect(call('secret', '{"model":"secret"}')).rejects.toMatchObject({
      code: 'BZZZ_MODEL_NOT_FOUND',
    })
    for (const body of [
      '{"model":"secret"}',
      `{"model":"secret","model":"${QWEN}"}`,
      `{"model":"${QWEN}","model":"secret"}`,
      `{"model":"${QWEN}"} {"model":"secret"}`,
      '{}',
    ]) {
      await expect(call(QWEN, body), body).rejects.toMatchObject({ code: 'BZZZ_REQUEST_INVALID' })
    }
    expect(servers['acacia']!.calls).toHaveLength(0)
  })

  it('do not reach a path that is not of the API', async () => {
    const headers = {
      authorization: `Bearer ${proxy.token}`,
      'bzzz-model': encodeURIComponent(QWEN),
    }
    for (const path of ['/v1/shared/files', '/v1/shared/../admin', '/v1/shared/models/x']) {
      const answer = await api.inject({ method: 'POST', url: path, headers, payload: '{}' })
      expect(answer.statusCode).toBe(404)
    }
    servers['acacia']!.next(json({ ok: true }))
    const asked = { method: 'POST' as const, url: '/v1/shared/embeddings', headers }
    const answer = await api.inject({ ...asked, payload: JSON.stringify({ model: QWEN }) })
    expect(answer.statusCode).toBe(200)
  })
})
