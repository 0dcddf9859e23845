import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import threadsFunction from '../../../functions/threads/handler.ts'
import type { TokenRequest } from '../../../shared/auth/token.ts'
import { createFunctionApp } from '../../../shared/function/host.ts'
import { PROGRESS_MEDIA_TYPE } from '../../../shared/function/progress.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'
import { startTestPostgres, type TestPostgres } from '../../helpers/postgres.ts'

const NAME = 'bzzz://a@apollo/talk'

let daemon: MemoryDaemon
let postgres: TestPostgres
let app: FastifyInstance
let replica: FastifyInstance
let url: string
let replicaURL: string

beforeAll(async () => {
  ;[daemon, postgres] = await Promise.all([startMemoryDaemon(), startTestPostgres()])
  const { url: databaseURL } = await postgres.openMigrated()
  app = await start({ DATABASE_URL: databaseURL })
  replica = await start({ DATABASE_URL: databaseURL })
  url = await app.listen({ host: '127.0.0.1', port: 0 })
  replicaURL = await replica.listen({ host: '127.0.0.1', port: 0 })
}, 120_000)

afterAll(async () => {
  await Promise.all([app?.close(), replica?.close()])
  await postgres?.stop()
  await daemon?.close()
})

function start(env: Record<string, string>): Promise<FastifyInstance> {
  return createFunctionApp(threadsFunction, {
    name: 'threads',
    env: { BZZZ_ENDPOINT: daemon.url, BZZZ_TOKEN_KEYS_FILE: daemon.tokens.keysFile, ...env },
    secretsDirs: [],
    log: createSilentLogger(),
    registry: new Registry(),
    signal: new AbortController().signal,
    version: 'test',
  })
}

interface Call {
  query?: Record<string, string>
  body?: unknown
  as?: Partial<TokenRequest>
  accept?: string
  on?: string
}

async function call(path: string, { query = {}, body, as, accept, on = url }: Call = {}) {
  const answer = await fetch(`${on}/v1/threads${path}?${new URLSearchParams(query)}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      authorization: `Bearer ${await daemon.tokens.create(as)}`,
      ...(accept !== undefined && { accept }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  const isJSON = answer.headers.get('content-type')?.startsWith('application/json') ?? false
  return { status: answer.status, text, body: isJSON ? JSON.parse(text) : null }
}

const append = (address: string, messages: unknown[], more: Omit<Call, 'body'> = {}) =>
  call('/messages', { ...more, query: { address }, body: { messages } })

describe('the function threads', () => {
  it('creates, appends, reads, forks, searches, lists', async () => {
    const created = await call('', { body: { address: NAME, title: 'A talk' } })
    expect(created.status).toBe(201)
    expect(created.body).toMatchObject({ address: NAME, title: 'A talk', createdBy: 'test' })
    const said = [
      { role: 'user', content: 'where is the *honey*?', key: '1' },
      { role: 'assistant', content: 'in the hive', author: 'bee' },
    ]
    const appended = await append(NAME, said)
    expect(appended.status).toBe(201)
    expect(appended.body).toMatchObject({
      messages: [{ seq: 1, existed: false }, { seq: 2 }],
      thread: { address: NAME, version: 2, seq: 2, messages: 2 },
    })
    expect((await append(NAME, said.slice(0, 1))).status).toBe(200)
    const read = await call('/messages', { query: { address: NAME, limit: '1', order: 'desc' } })
    expect(read.body).toMatchObject({
      messages: [{ author: 'bee', seq: 2 }],
      thread: { messages: 2 },
    })
    const next = { address: NAME, order: 'desc', after: read.body.next }
    const rest = await call('/messages', { query: next })
    expect(rest.body).toMatchObject({ messages: [{ author: 'test', seq: 1 }], next: null })
    const to = `${NAME}/fork`
    const at = appended.body.messages[0].hash
    const forked = await call('/forks', { query: { address: NAME }, body: { to, at } })
    expect(forked.body).toMatchObject({ address: to, seq: 1, from: { thread: NAME, seq: 1 } })
    const found = await call('/search', { query: { q: 'honey' } })
    expect(found.body.messages).toMatchObject([{ thread: NAME, seq: 1 }])
    const listed = await call('', { query: { pattern: 'bzzz://a@apollo/talk/**' } })
    expect(listed.body.threads).toMatchObject([{ address: to }])
    expect((await call('/thread', { query: { address: NAME } })).body).toMatchObject({ seq: 2 })
  })

  it('loses nothing when a hundred agents append to one thread at once', async () => {
    const address = 'bzzz://many@apollo/talk'
    expect((await call('', { body: { address } })).status).toBe(201)
    const agents = Array.from({ length: 100 }, (_, index) => `agent-${index}`)
    const answers = await Promise.all(
      agents.map((subject, index) =>
        append(address, [{ role: 'user', content: `from ${subject}`, key: subject }], {
          as: { role: 'agent', subject, projects: ['apollo'] },
          on: index % 2 === 0 ? url : replicaURL,
        }),
      ),
    )
    expect(answers.map(({ status }) => status)).toEqual(agents.map(() => 201))
    const { body } = await call('/messages', { query: { address, limit: '200' } })
    const { messages } = body as { messages: { seq: number; author: string; content: string }[] }
    expect(messages.map(({ seq }) => seq)).toEqual(agents.map((_, index) => index + 1))
    expect(messages.map(({ author }) => author).toSorted()).toEqual(agents.toSorted())
    for (const { author, content } of messages) expect(content).toBe(`from ${author}`)
    const report = await call('/verification', { query: { address } })
    expect(report.body).toMatchObject({ messages: 100, problems: [] })
  })

  it('verifies, and tells how far it is to whoever asks', async () => {
    const plain = await call('/verification', { query: { address: NAME } })
    expect(plain.body).toMatchObject({ whole: true, messages: 2, problems: [] })
    const told = await call('/verification', {
      query: { address: NAME },
      accept: PROGRESS_MEDIA_TYPE,
    })
    const lines = told.text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines[0]).toMatchObject({ progress: 100 })
    expect(JSON.parse(lines.at(-1).body)).toEqual(plain.body)
    const missing = await call('/verification', {
      query: { address: 'bzzz://a@apollo/none' },
      accept: PROGRESS_MEDIA_TYPE,
    })
    expect(JSON.parse(missing.text.trim())).toMatchObject({ status: 404 })
  })

  it('exports JSON and Markdown, long texts in place', async () => {
    const address = 'bzzz://a@apollo/export'
    const long = 'line\n'.repeat(3000)
    await call('', { body: { address } })
    await append(address, [
      { role: 'user', content: long },
      { role: 'tool', content: 'short', author: 'a\n# b', refs: ['bzzz://a@apollo/plan'] },
    ])
    const json = await call('/export', { query: { address } })
    expect(json.body.thread).toMatchObject({ address, messages: 2 })
    expect(json.body.messages).toMatchObject([{ content: long, seq: 1 }, { content: 'short' }])
    const markdown = await call('/export', { query: { address, format: 'markdown' } })
    expect(markdown.text).toContain(`## 1. user: test\n`)
    expect(markdown.text).toContain(long)
    expect(markdown.text).toContain('## 2. tool: a # b\n')
    expect(markdown.text).toContain('\n- bzzz://a@apollo/plan\n')
  })

  it('keeps projects and scopes apart', async () => {
    const gemini = { projects: ['gemini'] }
    for (const path of ['/messages', '/thread', '/verification', '/export']) {
      expect((await call(path, { query: { address: NAME }, as: gemini })).status, path).toBe(403)
    }
    expect((await call('', { body: { address: NAME }, as: gemini })).status).toBe(403)
    expect((await append(NAME, [{ role: 'user', content: 'x' }], { as: gemini })).status).toBe(403)
    const both = { query: { address: NAME }, body: { to: 'bzzz://a@gemini/x' } }
    expect((await call('/forks', { ...both, as: { projects: ['apollo'] } })).status).toBe(403)
    expect((await call('/search', { query: { q: 'honey' }, as: gemini })).body.messages).toEqual([])
    expect((await call('', { as: gemini })).body.threads).toEqual([])
    const viewer = { role: 'viewer' as const }
    expect((await call('/thread', { query: { address: NAME }, as: viewer })).status).toBe(200)
    expect((await append(NAME, [{ role: 'user', content: 'x' }], { as: viewer })).status).toBe(403)
    const narrow = { role: 'agent' as const, scopes: ['thread:write' as const] }
    const refused = await append(NAME, [{ role: 'user', content: 'x' }], { as: narrow })
    expect(refused).toMatchObject({ status: 403, body: { error: { code: 'BZZZ_SCOPE_MISSING' } } })
    expect(refused.body.error.message).toContain('blob:write')
  })

  it('says what is wrong with a request', async () => {
    const bad: [Promise<{ status: number; body: { error: { code: string } } }>, number, string][] =
      [
        [append(NAME, []), 400, 'BZZZ_REQUEST_INVALID'],
        [append(NAME, [{ role: 'robot', content: 'x' }]), 400, 'BZZZ_REQUEST_INVALID'],
        [append(NAME, [{ role: 'user' }]), 400, 'BZZZ_REQUEST_INVALID'],
        [append(NAME, [{ role: 'user', content: 'x', more: 1 }]), 400, 'BZZZ_REQUEST_INVALID'],
        [
          append('bzzz://a@apollo/none', [{ role: 'user', content: 'x' }]),
          404,
          'BZZZ_ADDRESS_NOT_FOUND',
        ],
        [
          append(NAME, [{ role: 'user', content: 'other', key: '1' }]),
          422,
          'BZZZ_IDEMPOTENCY_MISMATCH',
        ],
        [call('', { body: { address: NAME } }), 409, 'BZZZ_THREAD_EXISTS'],
        [call('/messages', { query: { address: NAME, after: 'x' } }), 400, 'BZZZ_REQUEST_INVALID'],
        [
          call('/messages', { query: { address: `bzzz://b3/${'a'.repeat(64)}` } }),
          400,
          'BZZZ_ADDRESS_INVALID',
        ],
      ]
    for (const [answer, status, code] of bad) {
      expect(await answer).toMatchObject({ status, body: { error: { code } } })
    }
  })

  it('starts without a database, and says that it lacks one', async () => {
    const idle = await start({})
    const headers = { authorization: `Bearer ${await daemon.tokens.create()}` }
    const answer = await idle.inject({ url: '/v1/threads', headers })
    expect(answer.statusCode).toBe(503)
    expect(answer.json()).toMatchObject({ error: { code: 'BZZZ_DATABASE_UNAVAILABLE' } })
    await idle.close()
  })
})
