import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { PostgresLimitStore } from '../../functions/llm-proxy/limits/postgres-store.ts'
import type { LimitStore } from '../../functions/llm-proxy/limits/limit-store.ts'
import { RedisLimitStore } from '../../functions/llm-proxy/limits/redis-store.ts'
import { openDatabase } from '../../shared/db/database.ts'
import { DaemonClient } from '../../shared/daemon/daemon-client.ts'
import { decodeExchanges } from '../../shared/llm/exchange.ts'
import { sumUsage } from '../../shared/llm/usage-store.ts'
import { createSilentLogger } from '../../shared/log/log.ts'
import { startChild } from '../helpers/child.ts'
import { post, startProxy, type TestProxy } from '../helpers/llm-proxy.ts'
import { startMemoryDaemon } from '../helpers/memory-daemon.ts'
import { until } from '../helpers/mesh.ts'
import { MockUpstream } from '../helpers/mock-upstream.ts'
import { startQueueServer, type QueueServer } from '../helpers/queue-server.ts'
import { findRedisServer, startRedisServer } from '../helpers/redis-server.ts'

const log = createSilentLogger()
const PLACES = 5
/** Long enough that a busy machine does not let a living replica's places expire. */
const TTL_MS = 4_000
const CALLS = 20

const RULES = [{ name: 'places', per: 'cluster', concurrentRequests: PLACES }]
const share = { key: 'places', bounds: { concurrentRequests: PLACES } }

let server: QueueServer
const closing: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  server = await startQueueServer()
})

afterAll(() => server.stop())

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

/** A replica takes every place and is killed with them. */
async function killWithPlaces(kind: string, url: string, store: LimitStore): Promise<void> {
  closing.push(() => store.close())
  const child = await startChild<{ taken: number; code: string }>(
    new URL('limits-child.ts', import.meta.url),
    { args: [kind, url, JSON.stringify({ rules: RULES }), String(TTL_MS)] },
  )
  expect(child.ready).toEqual({ taken: PLACES, code: 'BZZZ_RATE_LIMIT_EXCEEDED' })
  let count = 0
  const isFree = async (): Promise<boolean> => {
    const claim = { id: `mine-${(count += 1)}`, shares: [share], tokens: 0, nanoUsd: 0n }
    const [verdict] = await store.reserve([claim], 60 * TTL_MS)
    return verdict!.refusal === null
  }
  expect(await isFree()).toBe(false)
  await child.kill()
  let free = 0
  await until(async () => {
    if (await isFree()) free += 1
    return free === PLACES
  }, 'every place of the dead replica')
  expect(await isFree()).toBe(false)
}

describe('a replica of the llm-proxy that is killed', () => {
  it('gives its places on PostgreSQL back in time', async () => {
    const store = new PostgresLimitStore({ log }, { url: server.url })
    await killWithPlaces('postgres', server.url, store)
  })

  it('gives its places on Redis back in time', async (context) => {
    const program = findRedisServer()
    if (program === undefined) return context.skip('redis-server is not installed')
    const redis = await startRedisServer(program)
    closing.push(() => redis.stop())
    const store = new RedisLimitStore({ log }, { url: redis.url })
    await killWithPlaces('redis', redis.url, store)
  })
})

describe('the llm-proxy without one of its servers', () => {
  let folder: string
  let mock: MockUpstream
  const chat = () => post({ model: 'gpt-test', messages: [] })

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bzzz-accounting-'))
    mock = await MockUpstream.start()
    closing.push(
      () => rm(folder, { recursive: true }),
      () => mock.close(),
    )
  })

  async function start(env: Record<string, string>): Promise<TestProxy> {
    const proxy = await startProxy({
      config: { upstreams: { main: { baseURL: mock.url, models: ['gpt-*'] } } },
      env: { BZZZ_LLM_SPOOL_DIR: folder, ...env },
    })
    closing.push(() => proxy.close())
    return proxy
  }

  const ask = async (proxy: TestProxy, token?: string): Promise<Response> => {
    const init = chat()
    const headers = new Headers(init.headers)
    if (token !== undefined) headers.set('authorization', `Bearer ${token}`)
    return proxy.call('/chat/completions', { ...init, headers })
  }

  const calls = async (): Promise<number> => {
    const database = openDatabase(server.url, { log })
    const { items } = await sumUsage(database.db, { by: ['model'], limit: 10 })
    await database.close()
    return items.reduce((sum, item) => sum + item.calls, 0)
  }

  it('answers 503 where limits cannot be counted, never 401, and goes on afterwards', async () => {
    const road = await buildRoad(server.url)
    const proxy = await start({ DATABASE_URL: road.url, RATE_LIMIT_RPM: '100000' })
    expect((await ask(proxy)).status).toBe(200)
    await road.cut()
    for (let n = 0; n < 3; n += 1) expect((await ask(proxy)).status).toBe(503)
    await road.open()
    await until(async () => (await ask(proxy)).status === 200, 'calls to be let through')
  })

  it('writes down every call that it passed while PostgreSQL was away', async () => {
    const before = await calls()
    const road = await buildRoad(server.url)
    const proxy = await start({ DATABASE_URL: road.url })
    await road.cut()
    for (let n = 0; n < CALLS; n += 1) expect((await ask(proxy)).status).toBe(200)
    await road.open()
    await until(async () => (await calls()) === before + CALLS, 'usage of every call')
  })

  it('records every call that it passed while no daemon answered', async () => {
    const node = await startMemoryDaemon()
    closing.push(() => node.close())
    const road = await buildRoad(node.url)
    await road.cut()
    const proxy = await start({
      BZZZ_ENDPOINT: road.url,
      BZZZ_TOKEN_KEYS_FILE: node.tokens.keysFile,
      BZZZ_LLM_RECORD: 'full',
    })
    const token = await node.tokens.create({ role: 'agent', subject: 'coder' })
    const addresses: string[] = []
    for (let n = 0; n < CALLS; n += 1) {
      const answer = await ask(proxy, token)
      expect(answer.status).toBe(200)
      addresses.push(answer.headers.get('bzzz-exchange') ?? '')
    }
    await road.open()
    const daemon = new DaemonClient({ endpoints: [node.url] })
    closing.push(() => daemon.close())
    const recorded = async (): Promise<string[]> => {
      const ids: string[] = []
      for (const name of new Set(addresses.map((address) => address.split('#')[0]!))) {
        const found = await daemon.resolve(name, { token }).catch(() => null)
        if (!found) continue
        const { body } = await daemon.getBlob(found.record.hash, { token })
        const exchanges = decodeExchanges(Buffer.from(await body.arrayBuffer()))
        ids.push(...exchanges.map(({ id }) => `${name}#${id}`))
      }
      return ids.toSorted()
    }
    await until(async () => (await recorded()).length === CALLS, 'every exchange')
    expect(await recorded()).toEqual(addresses.toSorted())
  })
})

interface Road {
  url: string
  open(): Promise<void>
  /** Nobody gets through any more, also not those on their way. */
  cut(): Promise<void>
}

/** A port that leads to that of `target` while it is open, and is open at first. */
async function buildRoad(target: string): Promise<Road> {
  const { hostname, port: targetPort } = new URL(target)
  const sockets = new Set<Socket>()
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    return socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy())
  }
  const server = createServer((socket) => {
    const onward = keep(connect(Number(targetPort), hostname))
    keep(socket).on('close', () => onward.destroy())
    onward.on('close', () => socket.destroy())
    socket.pipe(onward).pipe(socket)
  })
  let port = 0
  const open = async (): Promise<void> => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
  }
  const cut = async (): Promise<void> => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  }
  await open()
  closing.push(cut)
  const url = Object.assign(new URL(target), { port: String(port) }).href.replace(/\/$/, '')
  return { url, open, cut }
}
