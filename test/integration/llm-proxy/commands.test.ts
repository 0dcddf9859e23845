import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { runCli } from '../../../cli/cli.ts'
import resolve from '../../../functions/resolve/handler.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import type { OpenDatabase } from '../../../shared/db/database.ts'
import { createFunctionApp } from '../../../shared/function/host.ts'
import {
  EXCHANGES_MEDIA_TYPE,
  encodeExchanges,
  type Exchange,
} from '../../../shared/llm/exchange.ts'
import type { UsageRow } from '../../../shared/llm/usage-row.ts'
import { insertUsage, walkUsage } from '../../../shared/llm/usage-store.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { createCommandHost } from '../../helpers/command-host.ts'
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
} from '../../helpers/mock-upstream.ts'
import { startTestPostgres, type TestPostgres } from '../../helpers/postgres.ts'

let folder: string
let postgres: TestPostgres
let database: OpenDatabase & { url: string }
let node: MemoryDaemon
let mock: MockUpstream
let proxy: TestProxy
let resolver: FastifyInstance
let gateway: Server
let token: string
let env: Record<string, string>

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-llm-commands-'))
  postgres = await startTestPostgres()
  database = await postgres.openMigrated()
  node = await startMemoryDaemon()
  token = await node.tokens.create({ role: 'agent', subject: 'coder', projects: ['apollo'] })
  mock = await MockUpstream.start()
  const shared = { BZZZ_ENDPOINT: node.url, BZZZ_TOKEN_KEYS_FILE: node.tokens.keysFile }
  const prices = join(folder, 'prices.json')
  await writeFile(prices, JSON.stringify({ 'gpt-test': { input_cost_per_token: 2e-6 } }))
  proxy = await startProxy({
    config: { upstreams: { main: { baseURL: mock.url, models: ['gpt-*'] } } },
    env: {
      ...shared,
      DATABASE_URL: database.url,
      BZZZ_LLM_RECORD: 'full',
      BZZZ_LLM_PRICES_FILE: prices,
    },
  })
  resolver = await createFunctionApp(resolve, {
    ...{ name: 'resolve', secretsDirs: [], version: 'test' },
    // Content is read from the node each time.
    env: { ...shared, BZZZ_RESOLVE_CONTENT_BYTES: '0' },
    ...{ log: createSilentLogger(), registry: new Registry() },
    signal: new AbortController().signal,
  })
  gateway = await startGateway()
  const { port } = gateway.address() as AddressInfo
  env = {
    BZZZ_TOKEN: token,
    BZZZ_GATEWAY_URL: `http://127.0.0.1:${port}`,
    BZZZ_RESOLVE_URL: await resolver.listen({ host: '127.0.0.1', port: 0 }),
    DATABASE_URL: database.url,
    BZZZ_ENDPOINT: node.url,
  }
})

afterAll(async () => {
  gateway.closeAllConnections()
  gateway.close()
  await resolver.close()
  await proxy.close()
  await mock.close()
  await node.close()
  await postgres.stop()
  await rm(folder, { recursive: true })
})

/** Passes `/function/llm-proxy/...` on, as the gateway does. */
async function startGateway(): Promise<Server> {
  const server = createServer((request, response) => {
    const path = (request.url ?? '').replace('/function/llm-proxy', '')
    const headers = { authorization: request.headers.authorization ?? '' }
    void fetch(new URL(path, proxy.baseURL), { headers }).then(async (answer) => {
      response.writeHead(answer.status, { 'content-type': 'application/json' })
      response.end(await answer.text())
    })
  })
  server.listen({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  return server
}

async function run(...args: string[]) {
  const { host, stdout, stderr } = createCommandHost(env)
  const code = await runCli(args, host)
  return { code, out: stdout.text(), bytes: stdout.bytes(), err: stderr.text() }
}

describe('bzzz exchange', () => {
  let address: string
  let request: string
  let response: string

  beforeAll(async () => {
    mock.next(events(chatEvents()))
    request = JSON.stringify({ model: 'gpt-test', messages: [], stream: true })
    const headers = { authorization: `Bearer ${token}` }
    const answer = await proxy.call('/chat/completions', post(request, headers))
    address = answer.headers.get('bzzz-exchange') ?? ''
    response = await answer.text()
    await until(async () => (await run('exchange', 'show', address)).code === 0, 'the exchange')
  })

  it('shows a call, and all calls of its batch', async () => {
    const { out } = await run('exchange', 'show', address)
    expect(out).toContain('coder@apollo (coder)')
    expect(out).toContain('POST /v1/chat/completions')
    expect(out).toContain('gpt-test, served as gpt-test-2026-01-01')
    expect(out).toContain('19 tokens, 7 of them cached')
    expect(out).toContain('$0.000038')
    expect(out).toContain(`bzzz://b3/${hashBytes(Buffer.from(response))}`)
    const [name = '', id] = address.split('#')
    expect((await run('exchange', 'show', name)).out).toContain(`#${id}`)
    const { exchanges } = JSON.parse((await run('exchange', 'show', address, '--json')).out) as {
      exchanges: { id: string }[]
    }
    expect(exchanges).toMatchObject([{ id, outcome: 'complete' }])
  })

  it('replays the bytes of both sides', async () => {
    expect((await run('exchange', 'replay', address)).bytes).toEqual(Buffer.from(response))
    expect((await run('exchange', 'replay', address, '--request')).out).toBe(request)
  })

  it('verifies what was stored, and tells what is gone', async () => {
    expect((await run('exchange', 'verify', address)).out).toBe(
      'whole: 1 exchanges, 2 blobs hashed again\n',
    )
    const hash = hashBytes(Buffer.from(response))
    const stored = Buffer.from(response)
    await node.store.delete(hash)
    const broken = await run('exchange', 'verify', address)
    expect(broken).toMatchObject({ code: 1 })
    expect(broken.err).toContain('BZZZ_EXCHANGE_BROKEN')
    expect(broken.err).toContain('the response of')
    await node.store.put(stored)
    expect((await run('exchange', 'verify', address)).code).toBe(0)
  })

  it('says what an address is when it is no exchange', async () => {
    const other = address.replace(/#.*/, `#${randomUUID()}`)
    expect((await run('exchange', 'show', other)).err).toContain('BZZZ_ADDRESS_NOT_FOUND')
    expect((await run('exchange', 'replay', address.replace(/#.*/, ''))).code).toBe(0)
    expect((await run('exchange', 'show', 'bzzz://b3/' + 'a'.repeat(64))).code).toBe(1)
  })
})

describe('bzzz usage rebuild', () => {
  const rows = async () => {
    const all: UsageRow[] = []
    const { signal } = new AbortController()
    for await (const page of walkUsage(database.db, {}, signal)) all.push(...page)
    return all
  }

  it('writes the rows that were lost as they were, from the exchanges, and no other', async () => {
    const headers = { authorization: `Bearer ${token}` }
    const addresses: string[] = []
    for (const answer of [json(chatCompletion()), failure(400), json(chatCompletion())]) {
      mock.next(answer)
      const sent = await proxy.call(
        '/chat/completions',
        post({ model: 'gpt-test', messages: [] }, headers),
      )
      await sent.text()
      addresses.push(sent.headers.get('bzzz-exchange') ?? '')
    }
    for (const address of addresses) {
      await until(async () => (await run('exchange', 'show', address)).code === 0, 'the exchange')
    }
    const count = (await run('exchange', 'verify', addresses[0]!.replace(/#.*/, ''))).out
    expect(count).toMatch(/^whole/)
    await until(async () => (await rows()).length >= addresses.length, 'the rows')
    const before = await rows()
    await database.db.deleteFrom('llm_usage').where('status', '=', 400).execute()
    await database.db.deleteFrom('llm_usage').where('id', '=', before[0]!.id).execute()
    expect((await run('usage', 'rebuild', '--project', 'apollo-2')).out).toMatch(/^0 of 0 calls/)
    const { out } = await run('usage', 'rebuild', '--project', 'apollo', '--since', '1h')
    expect(out).toMatch(new RegExp(`^2 of ${before.length} calls in \\d+ batches were missing`))
    expect(await rows()).toEqual(before)
    const again = JSON.parse((await run('usage', 'rebuild', '--json')).out) as object
    expect(again).toMatchObject({ calls: before.length, rows: 0, damaged: [], partial: false })
    expect((await run('usage', 'rebuild', '--project', 'a b')).code).toBe(1)
  })

  it('believes no batch that speaks of others than its address', async () => {
    const before = await rows()
    const [exchange] = (
      JSON.parse((await run('exchange', 'show', before[0]!.exchange!, '--json')).out) as {
        exchanges: Exchange[]
      }
    ).exchanges
    const forged = { ...exchange!, id: randomUUID(), agent: 'somebody-else' }
    const file = join(folder, 'batch.json')
    await writeFile(file, encodeExchanges([forged]))
    const name = `bzzz://coder@apollo/exchanges/${randomUUID()}`
    expect((await run('put', file, name, '--type', EXCHANGES_MEDIA_TYPE)).code).toBe(0)
    const { out } = await run('usage', 'rebuild')
    expect(out).toContain(`Not to be read: ${name}`)
    expect(await rows()).toEqual(before)
  })
})

describe('bzzz usage', () => {
  beforeAll(async () => {
    const at = new Date().toISOString()
    const base = {
      ...{ at, tokenId: 't', subject: 'ada', project: 'apollo', path: '/v1/chat/completions' },
      ...{ upstream: 'main', peer: null, status: 200, outcome: 'complete', cached: false },
      usage: {
        ...{ inputTokens: 1_000, cachedInputTokens: 0, cacheWriteTokens: 0 },
        ...{ outputTokens: 10, reasoningTokens: 0, estimated: false },
      },
      ...{ priced: true, priceMap: '', firstByteMs: null, totalMs: 1, exchange: null },
    }
    const row = (model: string, agent: string, costNanoUsd: string) => ({
      ...base,
      ...{ id: randomUUID(), model, servedModel: model, agent, costNanoUsd },
    })
    await insertUsage(database.db, [
      row('big', 'ada', '9000000000'),
      row('big', 'ada', '1000000000'),
      row('=small', 'bob', '1500000000'),
      { ...row('local', 'bob', '0'), priced: false },
    ])
  })

  it('prints a table with bars, CSV or JSON', async () => {
    const { out } = await run('usage', '--by', 'model', '--since', '1d')
    const lines = out.split('\n')
    expect(lines[0]).toMatch(/^MODEL +CALLS +INPUT +CACHED +OUTPUT +COST$/)
    expect(lines[1]).toMatch(/^big +2 +2000 +0 +20 +\$10\.00 +█{20}$/)
    expect(lines[2]).toMatch(/^=small +1 +1000 +0 +10 +\$1\.50 +███$/)
    expect(out).toContain('1 calls cost nothing here')
    const csv = (await run('usage', '--by', 'model,agent', '--csv')).out
    expect(csv.split('\r\n')[1]).toBe('big,ada,2,0,0,0,2000,0,20,0,10.000000000')
    expect(csv).toContain(`'=small,bob,`)
    const json = JSON.parse((await run('usage', '--model', 'big', '--json')).out) as object
    expect(json).toMatchObject({ items: [{ calls: 2, costNanoUsd: '10000000000' }], next: null })
    expect((await run('usage', '--project', 'zeus')).err).toContain('BZZZ_SCOPE_MISSING')
  })

  it('pages', async () => {
    const { out } = await run('usage', '--limit', '1')
    expect(out).toContain('more: --after 1')
    expect((await run('usage', '--limit', '1', '--after', '1')).out).toContain('=small')
  })

  it('recomputes what calls cost by other prices, and keeps that where told to', async () => {
    const prices = join(folder, 'other.json')
    await writeFile(
      prices,
      JSON.stringify({
        big: { input_cost_per_token: 1e-3, output_cost_per_token: 0.1 },
        'main/local': { input_cost_per_token: 1e-6 },
      }),
    )
    const first = await run('usage', 'reprice', '--prices', prices)
    expect(first.out).toMatch(/big +2 +\$10\.00 +\$4\.00/)
    expect(first.out).toMatch(/local +1 +\$0\.000000 +\$0\.001000/)
    expect(first.out).toMatch(/=small +1 +\$1\.50 +\$0\.000000 +1 without a price/)
    expect((await run('usage', '--model', 'big')).out).toContain('$10.00')
    await run('usage', 'reprice', '--prices', prices, '--write')
    expect((await run('usage', '--model', 'big')).out).toContain('$4.00')
    expect((await run('usage', 'reprice', '--prices', join(folder, 'none'))).err).toContain(
      'BZZZ_CONFIG_INVALID',
    )
  })
})
