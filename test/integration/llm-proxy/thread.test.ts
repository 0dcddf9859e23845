import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

import { DaemonClient } from '../../../shared/daemon/daemon-client.ts'
import { Threads } from '../../../shared/thread/threads.ts'
import { post, startProxy, type TestProxy } from '../../helpers/llm-proxy.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'
import { chatEvents, events, failure, MockUpstream } from '../../helpers/mock-upstream.ts'
import { startTestPostgres, type TestPostgres } from '../../helpers/postgres.ts'

const PATIENCE = { timeout: 60_000, interval: 50 }

let daemon: MemoryDaemon
let postgres: TestPostgres
let client: DaemonClient
let threads: Threads
let mock: MockUpstream
let proxy: TestProxy
let token: string

beforeAll(async () => {
  ;[daemon, postgres, mock] = await Promise.all([
    startMemoryDaemon(),
    startTestPostgres(),
    MockUpstream.start(),
  ])
  const database = await postgres.openMigrated()
  client = new DaemonClient({ endpoints: [daemon.url] })
  threads = new Threads({ daemon: client, db: database.db })
  token = await daemon.tokens.create({ role: 'agent', subject: 'coder' })
  proxy = await startProxy({
    config: { upstreams: { main: { baseURL: mock.url } } },
    env: {
      BZZZ_TOKEN_KEYS_FILE: daemon.tokens.keysFile,
      BZZZ_ENDPOINT: daemon.url,
      DATABASE_URL: database.url,
    },
  })
}, 120_000)

afterAll(async () => {
  await proxy?.close()
  await client?.close()
  await mock?.close()
  await postgres?.stop()
  await daemon?.close()
})

const ask = (thread: string, body: object, as = token) =>
  proxy.call(
    '/chat/completions',
    post({ model: 'm', ...body }, { authorization: `Bearer ${as}`, 'bzzz-thread': thread }),
  )

async function read(thread: string) {
  const { messages } = await threads.read(thread, { limit: 100 }, { token })
  return messages.map(({ role, content, author }) => ({ role, content, author }))
}

async function appended(result: string): Promise<number> {
  const counter = await proxy.registry.getSingleMetric('bzzz_llm_thread_appends_total')!.get()
  return counter.values.find(({ labels }) => labels['result'] === result)?.value ?? 0
}

describe('llm-proxy: the header bzzz-thread', () => {
  it('appends the messages of calls, and the history that comes along only once', async () => {
    const thread = 'bzzz://coder@apollo/talk'
    const system = { role: 'system', content: 'Be brief.' }
    const first = { role: 'user', content: 'Say hello.' }
    const answer = await ask(thread, { messages: [system, first] })
    expect(answer.status).toBe(200)
    await answer.text()
    await vi.waitFor(async () => expect(await appended('appended')).toBe(1), PATIENCE)
    mock.next(events(chatEvents({ words: ['Good', 'bye.'] })))
    const said = { role: 'assistant', content: 'Hello there.' }
    const second = { role: 'user', content: [{ type: 'text', text: 'And now?' }] }
    const messages = [system, first, said, second]
    await (await ask(thread, { messages, stream: true })).text()
    await vi.waitFor(async () => expect(await appended('appended')).toBe(2), PATIENCE)
    expect(await read(thread)).toEqual([
      { role: 'system', content: 'Be brief.', author: 'coder' },
      { role: 'user', content: 'Say hello.', author: 'coder' },
      { role: 'assistant', content: 'Hello there.', author: 'gpt-test-2026-01-01' },
      { role: 'user', content: 'And now?', author: 'coder' },
      { role: 'assistant', content: 'Goodbye.', author: 'gpt-test-2026-01-01' },
    ])
  })

  it('loses none of many calls at once', async () => {
    const thread = 'bzzz://coder@apollo/tools'
    const calls = Array.from({ length: 20 }, (_, index) => index)
    const before = await appended('appended')
    await Promise.all(
      calls.map(async (index) => {
        const content = `question ${index}`
        await (await ask(thread, { messages: [{ role: 'user', content }] })).text()
      }),
    )
    await vi.waitFor(async () => expect(await appended('appended')).toBe(before + 20), PATIENCE)
    const asked = (await read(thread)).filter(({ role }) => role === 'user')
    expect(new Set(asked.map(({ content }) => content))).toEqual(
      new Set(calls.map((index) => `question ${index}`)),
    )
    expect(asked).toHaveLength(calls.length)
  })

  it('appends nothing of a call that failed', async () => {
    mock.next(failure(400))
    const thread = 'bzzz://coder@apollo/failed'
    await (await ask(thread, { messages: [{ role: 'user', content: 'x' }] })).text()
    await vi.waitFor(async () => expect(await appended('dropped')).toBe(1), PATIENCE)
    await expect(read(thread)).rejects.toMatchObject({ code: 'BZZZ_ADDRESS_NOT_FOUND' })
  })

  it('is refused before anything is asked, to a token that may not write threads', async () => {
    const before = mock.calls.length
    const scopes = ['llm:invoke'] as const
    const other = await daemon.tokens.create({ role: 'agent', scopes: [...scopes] })
    const answer = await ask('bzzz://coder@apollo/talk', { messages: [] }, other)
    expect(answer.status).toBe(403)
    expect(await answer.json()).toMatchObject({ error: { code: 'BZZZ_SCOPE_MISSING' } })
    expect(mock.calls).toHaveLength(before)
  })
})
