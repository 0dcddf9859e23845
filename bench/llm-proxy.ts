import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { pathToFileURL } from 'node:url'

import autocannon from 'autocannon'

import { findFreePort } from '../cli/up/ports.ts'
import { startChild, type Child } from '../test/helpers/child.ts'
import { startTestPostgres } from '../test/helpers/postgres.ts'
import { findRedisServer, startRedisServer } from '../test/helpers/redis-server.ts'
import { createTestTokens } from '../test/helpers/tokens.ts'
import { firstBytes, openStream, type OpenStream, type Target } from './llm-proxy/streams.ts'
import { cpuMsOf, rssMiBOf } from './llm-proxy/usage-of.ts'
import { median, row, type Row } from './row.ts'

export const name = 'llm-proxy'

const CLIENTS = 32
const SECONDS = 3
const ROUNDS = 4

/** Of each server before it is measured: until then Node still compiles the way of a call. */
const WARM_UP_CALLS = 10_000
const STREAMS = 1000
const ABORTS = 30
const FIRST_BYTES = 200

/** What no limit may be in the way of, and every call is counted against. */
const PER_MINUTE = 1_000_000_000

/** Every kind of limit, where a call must be held and settled and not only counted. */
const RULES = [
  {
    ...{ name: 'all', per: 'cluster', requestsPerMinute: PER_MINUTE },
    ...{ tokensPerMinute: 1000 * PER_MINUTE, concurrentRequests: 10_000, usdPerMonth: 1_000_000 },
  },
]

const ASKED = {
  model: 'gpt-4o-mini',
  messages: [{ role: 'user', content: 'Say sixty words about the weather in Oslo, please.' }],
}

interface Measured {
  perSecond: number
  cpuMs: number
}

interface Server {
  target: Target
  pid: number
}

/**
 * Calls of a model that answers at once, through the proxy with token, limits, prices and recording
 * on: beside the least that such a proxy must do, beside another gateway, and beside none.
 */
export async function run(): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), 'bzzz-bench-llm-'))
  const postgres = await startTestPostgres()
  const stops: (() => Promise<unknown>)[] = []
  try {
    const { url } = await postgres.openMigrated()
    return await measure(dir, url, stops)
  } finally {
    for (const stop of stops.toReversed()) await stop()
    await postgres.stop()
    await rm(dir, { recursive: true })
  }
}

async function measure(
  dir: string,
  databaseURL: string,
  stops: (() => Promise<unknown>)[],
): Promise<Row[]> {
  const upstream = await startChild<{ port: number }>(
    new URL('./llm-proxy/upstream-server.ts', import.meta.url),
  )
  stops.push(() => upstream.stop())
  const base = `http://127.0.0.1:${upstream.ready.port}`
  const direct: Target = { url: `${base}/v1`, headers: {} }
  const start = await prepareOurs(dir, { databaseURL, base }, stops)
  const ours = await start({ RATE_LIMIT_RPM: String(PER_MINUTE) })
  const rules = { BZZZ_LLM_LIMITS_FILE: join(dir, 'rules.json') }
  await writeFile(rules.BZZZ_LLM_LIMITS_FILE, JSON.stringify({ rules: RULES }))
  const bounded = await start(rules)
  const redisURL = await findRedis(stops)
  const redis = redisURL === undefined ? null : await start({ ...rules, REDIS_URL: redisURL })
  const tap = await startTap(base, stops)
  const portkey = await startPortkey(base, stops)
  const servers: Record<string, Server> = {
    ...{ ours, tap, portkey, direct: { target: direct, pid: upstream.process.pid! } },
    ...{ bounded, ...(redis && { redis }) },
  }

  const found: Record<string, Measured[]> = {}
  for (const [which, server] of Object.entries(servers)) {
    found[which] = []
    await load(server, { amount: WARM_UP_CALLS })
  }
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [which, server] of Object.entries(servers)) {
      found[which]!.push(await load(server, { duration: SECONDS }))
    }
  }
  const rateOf = (which: string) => median(found[which]!.map(({ perSecond }) => perSecond))
  const work = `model call, JSON, all on, ${CLIENTS} clients`
  const unit = 'requests/s'
  const perSecond = rateOf('ours')
  const one = { work, unit, ours: perSecond }
  return [
    row({ ...one, beside: 'tap: Fastify, undici', peer: rateOf('tap'), bar: { atLeast: 0.6 } }),
    row({ ...one, beside: 'Portkey', peer: rateOf('portkey'), bar: { atLeast: 4 } }),
    row({ ...one, beside: 'direct', peer: rateOf('direct') }),
    ...['bounded', ...(redis ? ['redis'] : [])].map((which) =>
      row({
        work: `${work}, every kind of limit, ${which === 'redis' ? 'synced Redis' : 'PostgreSQL'}`,
        beside: 'requests a minute alone',
        ours: rateOf(which),
        peer: perSecond,
        unit,
      }),
    ),
    row({
      work: 'processor time a call',
      beside: 'the bar of 0.4 ms',
      ours: median(found['ours']!.map(({ cpuMs }) => cpuMs)),
      peer: 0.4,
      unit: 'ms',
      bar: { atMost: 1 },
    }),
    row({
      work: 'processor time a call',
      beside: 'tap',
      ours: median(found['ours']!.map(({ cpuMs }) => cpuMs)),
      peer: median(found['tap']!.map(({ cpuMs }) => cpuMs)),
      unit: 'ms',
    }),
    ...(await measureStreams(ours, direct, upstream)),
  ]
}

async function measureStreams(
  ours: Server,
  direct: Target,
  upstream: Child<unknown>,
): Promise<Row[]> {
  const body = { ...ASKED, stream: true }
  await firstBytes(ours.target, body, 50)
  const through = await firstBytes(ours.target, body, FIRST_BYTES)
  const without = await firstBytes(direct, body, FIRST_BYTES)
  const held = { ...body, user: 'hold' }
  const lateMs: number[] = []
  for (let turn = 0; turn < ABORTS; turn += 1) {
    const { leave } = await openStream(ours.target, held)
    const told = once(upstream.process, 'message')
    const leftAtMs = Date.now()
    leave()
    const [{ abandonedAtMs }] = (await told) as [{ abandonedAtMs: number }]
    lateMs.push(abandonedAtMs - leftAtMs)
  }
  const open: OpenStream[] = []
  while (open.length < STREAMS) {
    const batch = Array.from({ length: 50 }, () => openStream(ours.target, held))
    open.push(...(await Promise.all(batch)))
  }
  const rss = rssMiBOf(ours.pid)
  for (const { leave } of open) leave()
  const bar = { atMost: 1 }
  return [
    row({
      work: 'first byte of a stream, added',
      beside: 'the bar of 3 ms',
      ours: Math.max(median(through) - median(without), 0.01),
      peer: 3,
      unit: 'ms',
      bar,
    }),
    row({
      work: `upstream ended after the client left, slowest of ${ABORTS}`,
      beside: 'the bar of 100 ms',
      ours: Math.max(...lateMs, 0.5),
      peer: 100,
      unit: 'ms',
      bar,
    }),
    row({
      work: `memory with ${STREAMS} open streams`,
      beside: 'the bar of 400 MiB',
      ours: rss,
      peer: 400,
      unit: 'MiB',
      bar,
    }),
  ]
}

async function load(
  { target, pid }: Server,
  extent: { amount: number } | { duration: number },
): Promise<Measured> {
  const before = cpuMsOf(pid)
  const result = await autocannon({
    url: `${target.url}/chat/completions`,
    method: 'POST',
    headers: { ...target.headers, 'content-type': 'application/json' },
    body: JSON.stringify(ASKED),
    connections: CLIENTS,
    ...extent,
  })
  if (result.non2xx > 0 || result.errors > 0) {
    throw new Error(`${target.url}: ${result.non2xx} were refused, ${result.errors} failed.`)
  }
  const cpuMs = (cpuMsOf(pid) - before) / result.requests.total
  return { perSecond: result.requests.average, cpuMs }
}

/** One that syncs every write, as one with jobs in it has to. */
async function findRedis(stops: (() => Promise<unknown>)[]): Promise<string | undefined> {
  const program = findRedisServer()
  if (program === undefined) return undefined
  const server = await startRedisServer(program)
  stops.push(() => server.stop())
  return server.url
}

/** A node that keeps what is recorded; what is answered starts a proxy beside it. */
async function prepareOurs(
  dir: string,
  { databaseURL, base }: { databaseURL: string; base: string },
  stops: (() => Promise<unknown>)[],
): Promise<(env: Record<string, string>) => Promise<Server>> {
  const tokens = await createTestTokens(dir)
  const token = await tokens.create({ role: 'agent', subject: 'bench', projects: ['bench'] })
  const common = { BZZZ_TOKEN_KEYS_FILE: tokens.keysFile, BZZZ_LOG_LEVEL: 'error' }
  const node = await startChild<{ ports: { http: number } }>(
    new URL('../p2p-daemon/main.ts', import.meta.url),
    {
      env: {
        ...common,
        BZZZ_NODE_NAME: 'walnut',
        BZZZ_DATA_DIR: join(dir, 'node'),
        BZZZ_HTTP_PORT: '0',
        BZZZ_P2P_PORT: '0',
        BZZZ_BULK_PORT: '0',
        BZZZ_HOST: '127.0.0.1',
        BZZZ_LISTEN: '127.0.0.1',
      },
    },
  )
  stops.push(() => node.stop())
  await writeFile(join(dir, 'key'), 'upstream')
  const config = { upstreams: { bench: { baseURL: `${base}/v1`, apiKeyFile: join(dir, 'key') } } }
  await writeFile(join(dir, 'llm.json'), JSON.stringify(config))
  const env = {
    ...common,
    ...{ port: '0', BZZZ_HOST: '127.0.0.1', max_inflight: '4096' },
    healthcheck_interval: '0s',
    BZZZ_ENDPOINT: `http://127.0.0.1:${node.ready.ports.http}`,
    BZZZ_LLM_CONFIG_FILE: join(dir, 'llm.json'),
    DATABASE_URL: databaseURL,
  }
  return async (limits) => {
    const child = await startChild<{ ports: { http: number } }>(
      new URL('./llm-proxy/our-server.ts', import.meta.url),
      { env: { ...env, ...limits } },
    )
    stops.push(() => child.stop())
    const url = `http://127.0.0.1:${child.ready.ports.http}/v1`
    const headers = { authorization: `Bearer ${token}` }
    return { target: { url, headers }, pid: child.process.pid! }
  }
}

async function startTap(base: string, stops: (() => Promise<unknown>)[]): Promise<Server> {
  const tap = await startChild<{ port: number }>(
    new URL('./llm-proxy/tap-server.ts', import.meta.url),
    { env: { UPSTREAM: base, KEY: 'tap' } },
  )
  stops.push(() => tap.stop())
  const url = `http://127.0.0.1:${tap.ready.port}/v1`
  return { target: { url, headers: { authorization: 'Bearer tap' } }, pid: tap.process.pid! }
}

/** As its package starts it, without its console. */
async function startPortkey(base: string, stops: (() => Promise<unknown>)[]): Promise<Server> {
  const port = await findFreePort()
  const { resolve } = createRequire(pathToFileURL(import.meta.filename))
  const entry = join(dirname(resolve('@portkey-ai/gateway/package.json')), 'build/start-server.js')
  const child: ChildProcess = spawn(process.execPath, [entry, '--headless', `--port=${port}`], {
    stdio: 'ignore',
    env: { ...process.env, TRUSTED_CUSTOM_HOSTS: '127.0.0.1,localhost' },
  })
  stops.push(async () => {
    if (child.exitCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  })
  const headers = {
    authorization: 'Bearer upstream',
    'x-portkey-provider': 'openai',
    'x-portkey-custom-host': `${base}/v1`,
  }
  const target = { url: `http://127.0.0.1:${port}/v1`, headers }
  await untilItAnswers(target)
  return { target, pid: child.pid! }
}

async function untilItAnswers({ url, headers }: Target): Promise<void> {
  const deadlineMs = Date.now() + 60_000
  for (;;) {
    try {
      const answer = await fetch(`${url}/chat/completions`, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify(ASKED),
      })
      await answer.text()
      if (answer.ok) return
    } catch (error) {
      if (Date.now() > deadlineMs) throw error
    }
    if (Date.now() > deadlineMs) throw new Error(`${url} does not answer.`)
    await new Promise((done) => setTimeout(done, 100))
  }
}
