import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'

import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import maintenance from '../../../functions/maintenance/handler.ts'
import { createFunctionApp } from '../../../shared/function/host.ts'
import { PROGRESS_MEDIA_TYPE } from '../../../shared/function/progress.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'

let daemon: MemoryDaemon
let app: FastifyInstance
let away: string

function create(endpoints: readonly string[]): Promise<FastifyInstance> {
  return createFunctionApp(maintenance, {
    name: 'maintenance',
    env: { BZZZ_ENDPOINT: endpoints.join(','), BZZZ_TOKEN_KEYS_FILE: daemon.tokens.keysFile },
    secretsDirs: [],
    log: createSilentLogger(),
    registry: new Registry(),
    signal: new AbortController().signal,
    version: 'test',
  })
}

beforeAll(async () => {
  daemon = await startMemoryDaemon()
  app = await create([daemon.url])
  // A port at which nobody listens any more.
  const gone = createServer().listen(0, '127.0.0.1')
  await once(gone, 'listening')
  away = `http://127.0.0.1:${(gone.address() as AddressInfo).port}`
  gone.close()
})

afterAll(async () => {
  await app.close()
  await daemon.close()
})

async function post(url: string, role: 'admin' | 'agent' = 'admin', headers = {}, at = app) {
  const token = await daemon.tokens.create({ role })
  return at.inject({
    method: 'POST',
    url,
    headers: { authorization: `Bearer ${token}`, ...headers },
  })
}

describe('maintenance', () => {
  it('begins everything on every node', async () => {
    const answer = await post('/')
    expect(answer.statusCode).toBe(200)
    const { tasks } = answer.json<{ tasks: { task: string; outcome: string }[] }>()
    expect(tasks.map(({ task, outcome }) => [task, outcome])).toEqual([
      ['tokens', 'skipped'],
      ['provide', 'started'],
      ['gc', expect.stringMatching(/started|skipped/) as string],
      ['scrub', 'started'],
    ])
    const token = await daemon.tokens.create()
    const scrub = await fetch(`${daemon.url}/v1/scrub`, {
      headers: { authorization: `Bearer ${token}` },
    })
    expect(await scrub.json()).not.toMatchObject({ state: 'idle' })
  })

  it('tells its progress to whoever understands it', async () => {
    const answer = await post('/scrub', 'admin', { accept: PROGRESS_MEDIA_TYPE })
    expect(answer.headers['content-type']).toContain(PROGRESS_MEDIA_TYPE)
    const lines = answer.body
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object)
    expect(lines[0]).toEqual({ progress: 0, message: 'scrub' })
    expect(lines.at(-1)).toMatchObject({ status: 200 })
  })

  it('fails when a node is away, so that the job is tried again, and does the rest', async () => {
    const both = await create([away, daemon.url])
    const answer = await post('/provide', 'admin', {}, both)
    await both.close()
    expect(answer.statusCode).toBe(503)
    expect(answer.json()).toMatchObject({
      tasks: [
        { endpoint: away, outcome: 'failed' },
        { endpoint: daemon.url, outcome: 'started' },
      ],
    })
  })

  it('is for operators', async () => {
    expect((await post('/', 'agent')).statusCode).toBe(403)
    expect((await app.inject({ method: 'POST', url: '/' })).statusCode).toBe(401)
  })
})
