import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import type { OpenDatabase } from '../../../shared/db/database.ts'
import { DaemonClient } from '../../../shared/daemon/daemon-client.ts'
import { decodeExchanges } from '../../../shared/llm/exchange.ts'
import { PriceMap } from '../../../shared/llm/price-map.ts'
import type { UsageRow } from '../../../shared/llm/usage-row.ts'
import { walkUsage } from '../../../shared/llm/usage-store.ts'
import { post, startProxy, type TestProxy } from '../../helpers/llm-proxy.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'
import { until } from '../../helpers/mesh.ts'
import {
  chatCompletion,
  chatEvents,
  events,
  failure,
  json,
  MockUpstream,
  resetInside,
  USAGE,
  type MockAnswer,
  type MockUsage,
} from '../../helpers/mock-upstream.ts'
import {
  response,
  responseEvents,
  textCompletion,
  textEvents,
  toolCompletion,
  toolEvents,
} from '../../helpers/model-answers.ts'
import { startTestPostgres, type TestPostgres } from '../../helpers/postgres.ts'
import { findRedisServer, startRedisServer } from '../../helpers/redis-server.ts'

const REPLICAS = 3
const LIMIT = 100
const CALLS = 150

const PRICES = {
  'gpt-test': {
    ...{ input_cost_per_token: 3e-6, output_cost_per_token: 7e-6 },
    ...{ cache_read_input_token_cost: 1e-6, output_cost_per_reasoning_token: 11e-6 },
    input_cost_per_token_above_200k_tokens: 6e-6,
  },
}

const IMAGE_PRICE = { output_cost_per_image: 0.04 }

const messages = [{ role: 'user', content: 'Say hello to the canary.' }]
const chat = (more: object = {}) => post({ model: 'gpt-test', messages, ...more })

let postgres: TestPostgres
let database: OpenDatabase & { url: string }
let node: MemoryDaemon
let mock: MockUpstream
let token: string
const proxies: TestProxy[] = []

beforeAll(async () => {
  postgres = await startTestPostgres()
  node = await startMemoryDaemon()
  mock = await MockUpstream.start()
  token = await node.tokens.create({ role: 'agent', subject: 'coder', projects: ['apollo'] })
})

afterAll(async () => {
  await mock.close()
  await node.close()
  await postgres.stop()
})

beforeEach(async () => {
  mock.reset()
  database = await postgres.openMigrated()
})

afterEach(async () => {
  await Promise.all(proxies.splice(0).map((proxy) => proxy.close()))
})

async function start(env: Record<string, string> = {}, files: Record<string, object> = {}) {
  const folder = node.tokens.keysFile.replace(/[^/]+$/, '')
  const paths = Object.entries({ BZZZ_LLM_PRICES_FILE: PRICES, ...files }).map(([name, value]) => {
    const path = join(folder, `${name}-${proxies.length}.json`)
    writeFileSync(path, JSON.stringify(value))
    return [name, path]
  })
  const proxy = await startProxy({
    config: {
      upstreams: { main: { baseURL: mock.url, models: ['gpt-*'] } },
      models: { 'gpt-fast': [{ upstream: 'main', model: 'gpt-small' }] },
    },
    env: {
      DATABASE_URL: database.url,
      BZZZ_ENDPOINT: node.url,
      BZZZ_TOKEN_KEYS_FILE: node.tokens.keysFile,
      BZZZ_LLM_RECORD: 'full',
      ...Object.fromEntries(paths),
      ...env,
    },
  })
  proxies.push(proxy)
  const headers = { authorization: `Bearer ${token}` }
  const call = (init: RequestInit, path = '/chat/completions') =>
    proxy.call(path, { ...init, headers: { ...init.headers, ...headers } })
  return { proxy, call }
}

async function rows(): Promise<UsageRow[]> {
  const all: UsageRow[] = []
  const { signal } = new AbortController()
  for await (const page of walkUsage(database.db, {}, signal)) all.push(...page)
  return all
}

async function untilRows(count: number): Promise<UsageRow[]> {
  await until(async () => (await rows()).length >= count, `${count} usage rows`)
  return rows()
}

describe('cost', () => {
  const usages: [string, MockUsage][] = [
    ['plain', { prompt_tokens: 1_000, completion_tokens: 33, total_tokens: 1_033 }],
    ['cached and reasoning', USAGE],
    [
      'a long prompt',
      { ...USAGE, prompt_tokens: 200_001, prompt_tokens_details: { cached_tokens: 5 } },
    ],
    ['nothing', { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 }],
  ]

  /** Each kind of answer: its path, whole, and as a stream that tells its usage in some shape. */
  const kinds = (usage: MockUsage): [string, MockAnswer, MockAnswer[]][] => [
    [
      '/chat/completions',
      json(chatCompletion({ usage })),
      [events(chatEvents({ usage })), events(chatEvents({ usage, shape: 'last chunk' }))],
    ],
    [
      '/chat/completions',
      json(toolCompletion(usage)),
      [events(toolEvents(usage)), events(toolEvents(usage, 'last chunk'))],
    ],
    ['/completions', json(textCompletion(usage)), [events(textEvents(usage))]],
    ['/responses', json(response('Hi.', usage)), [events(responseEvents('Hi.', usage))]],
  ]

  it.each(usages)('of a stream is that of the whole answer: %s', async (_, usage) => {
    const { call } = await start()
    let calls = 0
    const ask = async (path: string, answer: MockAnswer, more: object) => {
      mock.next(answer)
      calls += 1
      await (await call(chat(more), path)).text()
    }
    for (const [path, whole, streams] of kinds(usage)) {
      await ask(path, whole, {})
      for (const stream of streams) {
        await ask(path, stream, { stream: true })
        await ask(path, stream, { stream: true, stream_options: { include_usage: true } })
      }
    }
    const written = await untilRows(calls)
    const [first] = written
    for (const row of written) {
      const { usage: used, costNanoUsd, priced } = row
      expect({ used, costNanoUsd, priced }).toEqual({
        used: first!.usage,
        costNanoUsd: first!.costNanoUsd,
        priced: true,
      })
    }
    const { inputTokens: input, cachedInputTokens: cached } = first!.usage
    const { outputTokens: output, reasoningTokens: reasoning } = first!.usage
    expect(input).toBe(usage.prompt_tokens)
    const rate = input > 200_000 ? 6_000 : 3_000
    const nano = (input - cached) * rate + cached * 1_000
    expect(first!.costNanoUsd).toBe(
      String(nano + (output - reasoning) * 7_000 + reasoning * 11_000),
    )
  })

  it('is estimated and marked where the upstream does not tell', async () => {
    const { call } = await start()
    mock.next(events(chatEvents({ shape: 'none' })))
    await (await call(chat({ stream: true }))).text()
    const [row] = await untilRows(1)
    expect(row).toMatchObject({ priced: true, usage: { estimated: true } })
    expect(row!.usage.inputTokens).toBeGreaterThan(0)
    expect(row!.usage.outputTokens).toBeGreaterThan(0)
  })

  it('of pictures is by their number where the upstream does not tell', async () => {
    const { call } = await start({}, { BZZZ_LLM_PRICES_FILE: { 'gpt-test': IMAGE_PRICE } })
    mock.otherwise = json({ created: 1, data: [{ url: 'a' }, { url: 'b' }, { url: 'c' }] })
    await call(post({ model: 'gpt-test', prompt: 'A canary.', n: 3 }), '/images/generations')
    const form = new FormData()
    for (const [name, value] of [...Object.entries({ n: '2', model: 'gpt-test' })]) {
      form.set(name, value)
    }
    await call({ method: 'POST', body: form }, '/images/variations')
    await call(post({ model: 'gpt-test', prompt: 'A canary.' }), '/images/generations')
    expect(await untilRows(3)).toMatchObject(
      [3, 2, 1].map((images) => ({
        ...{ priced: true, costNanoUsd: String(images * 40_000_000) },
        usage: { images, estimated: true },
      })),
    )
  })

  it('follows from what is kept of a call, also behind an alias', async () => {
    const { call } = await start({}, { BZZZ_LLM_PRICES_FILE: { 'gpt-small': PRICES['gpt-test'] } })
    mock.next(json({ ...chatCompletion(), model: '/models/small.gguf' }))
    await call(chat({ model: 'gpt-fast' }))
    const [row] = await untilRows(1)
    expect(row).toMatchObject({ model: 'gpt-fast', servedModel: 'gpt-small', priced: true })
    const map = new PriceMap(JSON.stringify({ 'gpt-small': PRICES['gpt-test'] }))
    expect(String(map.cost(row!.servedModel, row!.usage).nanoUsd)).toBe(row!.costNanoUsd)
  })

  it('is not tracked where COST_TRACKING_ENABLED says so', async () => {
    const { call } = await start({ COST_TRACKING_ENABLED: 'false' })
    await (await call(chat())).text()
    expect(await untilRows(1)).toMatchObject([
      { costNanoUsd: '0', priced: false, usage: { inputTokens: 19, outputTokens: 10 } },
    ])
  })
})

describe('limits over replicas', () => {
  async function exactly(env: Record<string, string>) {
    const replicas: Awaited<ReturnType<typeof start>>[] = []
    for (let n = 0; n < REPLICAS; n += 1) replicas.push(await start(env))
    const statuses = await Promise.all(
      Array.from({ length: CALLS }, async (_, index) => {
        const answer = await replicas[index % REPLICAS]!.call(chat())
        await answer.text()
        return answer.status
      }),
    )
    expect(statuses.filter((status) => status === 200)).toHaveLength(LIMIT)
    expect(statuses.filter((status) => status === 429)).toHaveLength(CALLS - LIMIT)
    expect(mock.calls).toHaveLength(LIMIT)
  }

  it('lets exactly 100 through on PostgreSQL', async () => {
    await exactly({ RATE_LIMIT_RPM: String(LIMIT), BZZZ_LLM_RECORD: 'off' })
  })

  it('lets exactly 100 through on Redis', async (context) => {
    const program = findRedisServer()
    if (program === undefined) return context.skip('redis-server is not installed')
    const redis = await startRedisServer(program)
    const env = { RATE_LIMIT_RPM: String(LIMIT), BZZZ_LLM_RECORD: 'off', REDIS_URL: redis.url }
    try {
      await exactly(env)
    } finally {
      await redis.stop()
    }
  })

  it('tells a client of OpenAI how much is left and when to come back', async () => {
    const rules = [
      { name: 'few', per: 'token', requestsPerMinute: 1, tokensPerMinute: 100_000 },
      { name: 'money', per: 'agent', match: { agent: 'poor' }, usdPerDay: 0 },
    ]
    const { call } = await start({}, { BZZZ_LLM_LIMITS_FILE: { rules } })
    const first = await call(chat())
    expect(first.headers.get('x-ratelimit-limit-requests')).toBe('1')
    expect(first.headers.get('x-ratelimit-remaining-requests')).toBe('0')
    expect(Number(first.headers.get('x-ratelimit-remaining-tokens'))).toBeGreaterThan(90_000)
    const second = await call(chat())
    expect(second.status).toBe(429)
    expect(Number(second.headers.get('retry-after'))).toBeGreaterThan(50)
    expect(Number(second.headers.get('retry-after'))).toBeLessThanOrEqual(61)
    expect(await second.json()).toMatchObject({ error: { code: 'rate_limit_exceeded' } })
    const poor = await call(post({ model: 'gpt-test', messages }, { 'bzzz-agent': 'poor' }))
    expect(poor.status).toBe(429)
    expect(poor.headers.get('x-should-retry')).toBe('false')
    expect(await poor.json()).toMatchObject({ error: { code: 'budget_exceeded' } })
  })

  it('spends a budget by what calls really cost', async () => {
    // 19 tokens in, 7 of them cached, and 10 out, 4 of them thought: 129 micro-dollars a call.
    const rules = [{ name: 'day', per: 'project', usdPerDay: 0.004 }]
    const { call } = await start({}, { BZZZ_LLM_LIMITS_FILE: { rules } })
    const ask = async (tokens: number) => {
      const answer = await call(chat({ max_tokens: tokens }))
      await answer.text()
      return answer.status
    }
    mock.next(failure(400))
    expect(await ask(100)).toBe(400)
    let passed = 0
    while ((await ask(100)) === 200) passed += 1
    // The last one was refused for what it might have cost, and those before it too.
    await expect.poll(() => ask(1), { timeout: 30_000 }).toBe(200)
    while ((await ask(1)) === 200) passed += 1
    const spent = (await untilRows(passed + 2)).map((row) => Number(row.costNanoUsd))
    const total = spent.reduce((sum, cost) => sum + cost)
    expect(total).toBeLessThanOrEqual(4_000_000)
    expect(total).toBeGreaterThan(2_000_000)
  })
})

describe('exchanges', () => {
  let daemon: DaemonClient

  beforeAll(() => {
    daemon = new DaemonClient({ endpoints: [node.url] })
  })
  afterAll(() => daemon.close())

  const read = async (hash: string) => {
    const answer = await daemon.getBlob(hash, { token })
    return Buffer.from(await answer.body.arrayBuffer())
  }

  async function find(address: string) {
    const [name = '', id] = address.split('#')
    const resolution = await daemon.resolve(name, { token }).catch(() => null)
    if (!resolution) return undefined
    return decodeExchanges(await read(resolution.record.hash)).find((one) => one.id === id)
  }

  it('are named in the answer and hold what went over the wire', async () => {
    const { call } = await start()
    mock.next(events(chatEvents()))
    const init = chat({ stream: true, stream_options: { include_usage: true } })
    const answer = await call(init)
    const address = answer.headers.get('bzzz-exchange') ?? ''
    const sent = await answer.text()
    await until(async () => (await find(address)) !== undefined, 'the exchange')
    const exchange = (await find(address))!
    expect(exchange).toMatchObject({ outcome: 'complete', upstream: 'main', project: 'apollo' })
    expect((await read(exchange.request!.hash)).toString()).toBe(init.body)
    expect((await read(exchange.response!.hash)).toString()).toBe(sent)
    expect(await untilRows(1)).toMatchObject([{ id: exchange.id, exchange: address }])
  })

  it('tell of an answer that was cut', async () => {
    const { call } = await start()
    mock.next(resetInside(chatEvents().slice(0, 3)))
    const answer = await call(chat({ stream: true }))
    await answer.text().catch(() => '')
    const address = answer.headers.get('bzzz-exchange') ?? ''
    await until(async () => (await find(address)) !== undefined, 'the exchange')
    expect(await find(address)).toMatchObject({ outcome: 'cut' })
  })
})
