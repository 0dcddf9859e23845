import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import OpenAI from 'openai'
import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { DaemonClient } from '../../../shared/daemon/daemon-client.ts'
import { decodeExchanges } from '../../../shared/llm/exchange.ts'
import { startChild, type Child } from '../../helpers/child.ts'
import { post } from '../../helpers/llm-proxy.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'
import { until } from '../../helpers/mesh.ts'
import {
  chatCompletion,
  chatEvents,
  events,
  failure,
  json,
  malformed,
  MockUpstream,
  resetBefore,
  resetInside,
  stall,
  type MockAnswer,
} from '../../helpers/mock-upstream.ts'
import { startTestPostgres, type TestPostgres } from '../../helpers/postgres.ts'

const HANDLER = join(import.meta.dirname, '..', '..', '..', 'functions', 'llm-proxy')
/** Errors of parsers quote about ten letters, so its begin alone is looked for. */
const CANARY = 'q9canary-the-secret-plan'
const CANARY_BEGIN = 'q9canary'

/** Words that say nothing to a reader, each of which a log, a metric or a row may hold. */
const messages = [{ role: 'user' as const, content: `Keep it to yourself: ${CANARY}` }]

interface Ready {
  ports: Record<'gateway' | 'metrics', number>
}

let folder: string
let postgres: TestPostgres
let databaseURL: string
let node: MemoryDaemon
let mock: MockUpstream
let gateway: Child<Ready>
let token: string
let client: OpenAI
let baseURL: string
const logs: string[] = []

/** The gateway as it runs, in a process of its own, with the function behind it. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-llm-gateway-'))
  const log = pino({ level: 'trace' }, { write: (line: string) => void logs.push(line) })
  ;[postgres, node, mock] = await Promise.all([
    startTestPostgres(),
    startMemoryDaemon({ log }),
    MockUpstream.start(),
  ])
  databaseURL = (await postgres.openMigrated()).url
  const rules = [{ name: 'each', per: ['token', 'model'], requestsPerMinute: 5_000, usdPerDay: 9 }]
  const files = {
    'stack.yml': `
version: 1.0
provider: {name: openfaas}
functions:
  llm-proxy:
    lang: node24-ts
    handler: ${HANDLER}
    image: registry.example/llm-proxy:v1
    annotations: {bzzz.port: 0}`,
    'limits.json': JSON.stringify({ rules }),
    'llm.json': JSON.stringify({
      upstreams: { main: { baseURL: mock.url } },
      retries: { attempts: 1 },
    }),
  }
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  gateway = await startChild<Ready>(new URL('../../../gateway/main.ts', import.meta.url), {
    env: {
      BZZZ_GATEWAY_PORT: '0',
      BZZZ_GATEWAY_METRICS_PORT: '0',
      BZZZ_GATEWAY_DATA_DIR: join(folder, 'data'),
      BZZZ_STACK_FILE: join(folder, 'stack.yml'),
      BZZZ_TOKEN_KEYS_FILE: node.tokens.keysFile,
      BZZZ_ENDPOINT: node.url,
      BZZZ_LOG_LEVEL: 'trace',
      BZZZ_LLM_CONFIG_FILE: join(folder, 'llm.json'),
      BZZZ_LLM_LIMITS_FILE: join(folder, 'limits.json'),
      BZZZ_LLM_SPOOL_DIR: folder,
      DATABASE_URL: databaseURL,
      // Limits are counted in PostgreSQL, where every row can be looked through.
      REDIS_URL: '',
    },
    onLog: (text) => void logs.push(text),
  })
  token = await node.tokens.create({ role: 'agent', subject: 'coder', projects: ['apollo'] })
  baseURL = `http://127.0.0.1:${gateway.ready.ports.gateway}/function/llm-proxy/v1`
  client = new OpenAI({ baseURL, apiKey: token, maxRetries: 0 })
}, 120_000)

afterAll(async () => {
  await gateway?.stop()
  await mock?.close()
  await node?.close()
  await postgres?.stop()
  await rm(folder, { recursive: true })
})

beforeEach(() => mock.reset())

const stream = () => client.chat.completions.create({ model: 'm', messages, stream: true })

describe('llm-proxy behind the gateway', () => {
  it('streams to the openai SDK, byte for byte as the upstream did', async () => {
    mock.next(events(chatEvents()), events(chatEvents({ shape: 'last chunk' })))
    const words = []
    for await (const chunk of await stream()) words.push(chunk.choices[0]?.delta.content ?? '')
    expect(words.join('')).toBe('Hello thère.')
    const raw = await stream().asResponse()
    expect(await raw.text()).toBe(chatEvents({ shape: 'last chunk' }).join(''))
    expect(raw.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    expect(raw.headers.get('bzzz-exchange')).toMatch(/^bzzz:\/\/coder@apollo\/exchanges\//)
  })

  it('passes each event on as it comes', async () => {
    const gate: (() => void)[] = []
    const pause = () => new Promise<void>((resolve) => gate.push(resolve))
    mock.next(events(chatEvents(), pause))
    let seen = 0
    const reading = (async () => {
      for await (const _ of await stream()) seen += 1
    })()
    // The comment and two events have gone out, and the upstream waits.
    for (let piece = 1; piece <= 3; piece += 1) {
      await until(() => gate.length === piece, `piece ${piece}`)
      if (piece < 3) gate.at(-1)!()
    }
    await until(() => seen === 2, 'the two events')
    const opened = setInterval(() => gate.at(-1)!(), 5)
    await reading
    clearInterval(opened)
    expect(seen).toBe(5)
  })

  it('takes the upstream along when the caller leaves', async () => {
    mock.next(stall(chatEvents().slice(0, 3)))
    const answer = await stream()
    const chunks = answer[Symbol.asyncIterator]()
    await chunks.next()
    expect(mock.last.abandoned).toBe(false)
    answer.controller.abort()
    await until(() => mock.last.abandoned, 'the upstream to be left')
  })

  it('ends what breaks off with an error event, and never cleanly', async () => {
    const begun = chatEvents().slice(0, 3)
    mock.next(resetInside(begun), resetInside(begun))
    const read = async () => {
      for await (const _ of await stream()) continue
    }
    await expect(read()).rejects.toMatchObject({ code: 'BZZZ_UPSTREAM_BROKEN' })
    const raw = await stream().asResponse()
    let text = ''
    const whole = (async () => {
      const decoder = new TextDecoder()
      for await (const piece of raw.body!) text += decoder.decode(piece, { stream: true })
    })()
    await expect(whole).rejects.toThrow()
    expect(text).toMatch(/\nevent: error\ndata: \{"error":\{.*BZZZ_UPSTREAM_BROKEN.*\}\}\n\n$/)
  })
})

describe('what is said to a model and by it', () => {
  const tool = { name: 'plan', arguments: JSON.stringify({ text: CANARY }) }
  const said = { role: 'assistant', tool_calls: [{ id: 'c', type: 'function', function: tool }] }
  const refusal = { error: { message: `no: ${CANARY}`, type: 'x', param: CANARY, code: CANARY } }
  const headers = { 'bzzz-thread': 'bzzz://coder@apollo/talk' }

  /** What is asked, and how the upstream answers. */
  const calls: [string, object | string, MockAnswer, Record<string, string>?][] = [
    ['a prompt', { messages, user: CANARY }, json(chatCompletion())],
    ['an argument of a tool', { messages: [said] }, json(chatCompletion())],
    ['an answer', { messages }, json(chatCompletion({ content: CANARY }))],
    ['a stream', { messages, stream: true }, events(chatEvents({ words: ['a', CANARY] }))],
    ['a refusal', { messages }, json(refusal, 400)],
    ['a failure', { messages }, json(refusal, 500)],
    ['no room', { messages }, json(refusal, 429, { 'retry-after': '1' })],
    ['a refused key', { messages }, json(refusal, 401)],
    ['a redirect', { messages }, json(refusal, 302, { location: `/${CANARY}` })],
    ['no answer', { messages }, resetBefore()],
    ['an answer that is no HTTP', { messages }, malformed([], CANARY)],
    ['a stream that is none', { messages, stream: true }, malformed([CANARY], CANARY)],
    ['a cut', { messages, stream: true }, resetInside(chatEvents({ words: [CANARY] }).slice(0, 3))],
    ['a thread', { messages }, json(chatCompletion({ content: CANARY })), headers],
    ['a thread of a failure', { messages }, failure(400), headers],
    ['half a body', `{"model":"m","messages":["${CANARY}"`, json(chatCompletion())],
    ['a body that is odd', `{"model":"m","x":["${CANARY}" ${CANARY}]}`, json(chatCompletion())],
    ['an odd one for a thread', `{"model":"m","x":[${CANARY}]}`, json(chatCompletion()), headers],
    ['an odd answer', { messages }, json([CANARY]), headers],
    [
      'odd fields',
      { messages, max_tokens: CANARY, stream_options: CANARY },
      json(chatCompletion()),
    ],
  ]

  it('is found in no log, no metric and no row, however the call ends', async () => {
    const before = logs.join('').length
    for (const [name, asked, answer, more] of calls) {
      mock.next(answer)
      const body = typeof asked === 'string' ? asked : { model: 'm', ...asked }
      const init = post(body, { authorization: `Bearer ${token}`, ...more })
      const sent = await fetch(`${baseURL}/chat/completions`, init)
      await sent.text().catch(() => undefined)
      const reached = name === 'half a body' ? 400 : null
      if (reached === null) expect(mock.last.body.toString(), name).toContain(CANARY)
      else expect(sent.status, name).toBe(reached)
    }
    const form = new FormData()
    form.set('model', 'm')
    form.set('prompt', CANARY)
    form.set('file', new File([CANARY], `${CANARY}.wav`))
    const auth = { authorization: `Bearer ${token}` }
    const init = { method: 'POST', headers: auth, body: form }
    await (await fetch(`${baseURL}/audio/transcriptions`, init)).text()

    await untilRecorded()
    const shown = await readMetrics()
    expect(/bzzz_llm_calls_total\{.*outcome="cut"/.test(shown)).toBe(true)
    const rows = await dumpTables()
    for (const table of ['llm_usage', 'audit', 'llm_limit']) {
      expect([...rows.keys()].join(' '), 'rows to search').toContain(table)
    }
    const text = logs.join('')
    expect(text.length).toBeGreaterThan(before)
    expect(text).toContain('upstream failed')
    expect(places(text), 'in the logs').toEqual([])
    expect(text.includes(token), 'the token').toBe(false)
    expect(places(shown), 'in the metrics').toEqual([])
    for (const [table, found] of rows) expect(places(found), `in ${table}`).toEqual([])
  })

  async function readMetrics(): Promise<string> {
    const answer = await fetch(`http://127.0.0.1:${gateway.ready.ports.metrics}/metrics`)
    return answer.text()
  }

  /** Until all that is written behind answers has been, and with it what could tell. */
  async function untilRecorded(): Promise<void> {
    const count = async (text: string) => Number((await postgres.query(databaseURL, text))[0]!['n'])
    // One body was no call.
    await until(
      async () => (await count('select count(*) as n from llm_usage')) >= calls.length,
      'a row of each call',
    )
    const threads = calls.filter(([, , , more]) => more).length
    await until(async () => {
      const ends = (await readMetrics()).matchAll(/^bzzz_llm_thread_appends_total\{.*\} (\d+)$/gm)
      return [...ends].reduce((sum, [, ended]) => sum + Number(ended), 0) === threads
    }, 'the messages of threads')
    const [row] = await postgres.query(databaseURL, 'select exchange from llm_usage limit 1')
    const daemon = new DaemonClient({ endpoints: [node.url] })
    try {
      const [name = ''] = String(row!['exchange']).split('#')
      let bodies = ''
      await until(async () => {
        const found = await daemon.resolve(name, { token }).catch(() => null)
        if (!found) return false
        const { body } = await daemon.getBlob(found.record.hash, { token })
        const exchanges = decodeExchanges(Buffer.from(await body.arrayBuffer()))
        const hashes = exchanges.flatMap(({ request }) => (request ? [request.hash] : []))
        const blobs = hashes.map(async (hash) =>
          (await daemon.getBlob(hash, { token })).body.text(),
        )
        bodies = (await Promise.all(blobs)).join('\n')
        return bodies.includes(CANARY)
      }, 'a body that is stored')
    } finally {
      await daemon.close()
    }
  }

  /** Every row of every table, but for the index of threads, which is there to be searched. */
  async function dumpTables(): Promise<Map<string, string>> {
    const tables = await postgres.query(
      databaseURL,
      `select format('%I.%I', table_schema, table_name) as name from information_schema.tables
       where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')
         and table_name not like 'thread%'`,
    )
    const rows = new Map<string, string>()
    for (const { name } of tables) {
      const lines = await postgres.query(
        databaseURL,
        `select t::text as line from ${String(name)} t`,
      )
      if (lines.length > 0) rows.set(String(name), lines.map(({ line }) => line).join('\n'))
    }
    return rows
  }

  /** Where it stands, with what stands around it; also in the forms that bytes are shown in. */
  function places(text: string): string[] {
    const forms = ['utf8', 'hex', 'base64'] as const
    const words = forms.map((form) => Buffer.from(CANARY_BEGIN).toString(form).replace(/.=+$/, ''))
    return words.flatMap((word) => {
      const at = text.indexOf(word)
      return at === -1 ? [] : [text.slice(Math.max(at - 200, 0), at + 80)]
    })
  }
})
