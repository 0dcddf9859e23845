import { randomUUID } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { usageRoutes } from '../../../functions/llm-proxy/usage/routes.ts'
import { UsageLog } from '../../../functions/llm-proxy/usage/usage-log.ts'
import { createKeyFileVerifier } from '../../../shared/auth/key-file.ts'
import { authPlugin } from '../../../shared/auth/plugin.ts'
import { openDatabase, type OpenDatabase } from '../../../shared/db/database.ts'
import { createService } from '../../../shared/http/service.ts'
import type { UsageRow } from '../../../shared/llm/usage-row.ts'
import { rewriteCosts, sumUsage, walkUsage } from '../../../shared/llm/usage-store.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { until } from '../../helpers/mesh.ts'
import { startTestPostgres, type TestPostgres } from '../../helpers/postgres.ts'
import { createTestTokens } from '../../helpers/tokens.ts'

const log = createSilentLogger()
const signal = new AbortController().signal

/** Nobody listens on it. */
const AWAY = 'postgres://bzzz@127.0.0.1:9/none'

let postgres: TestPostgres
let database: OpenDatabase & { url: string }
let folder: string
const running: UsageLog[] = []

beforeAll(async () => {
  postgres = await startTestPostgres()
})
afterAll(() => postgres.stop())

beforeEach(async () => {
  database = await postgres.openMigrated()
  folder = await mkdtemp(join(tmpdir(), 'bzzz-usage-'))
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((usage) => usage.stop()))
  await rm(folder, { recursive: true })
})

function row(given: Partial<UsageRow> = {}): UsageRow {
  return {
    ...{ id: randomUUID(), at: '2026-11-20T12:00:00.000Z', tokenId: 't', subject: 'ada' },
    ...{ project: 'apollo', agent: 'coder', path: '/v1/chat/completions' },
    ...{ model: 'gpt-4o', servedModel: 'gpt-4o-2024-08-06', upstream: 'openai', peer: null },
    ...{ status: 200, outcome: 'complete', cached: false },
    usage: {
      ...{ inputTokens: 100, cachedInputTokens: 40, cacheWriteTokens: 0 },
      ...{ outputTokens: 20, reasoningTokens: 5, estimated: false },
    },
    ...{ costNanoUsd: '1000', priced: true, priceMap: 'f'.repeat(64) },
    ...{ firstByteMs: 10, totalMs: 50, exchange: null },
    ...given,
  }
}

async function start(db = database.db, init: { pendingMax?: number } = {}) {
  const registry = new Registry()
  const components = { db, log, registry }
  const usage = new UsageLog(components, { component: 'llm-proxy', spoolDir: folder, ...init })
  running.push(usage)
  await usage.start()
  return { usage, registry }
}

const sum = async () => (await sumUsage(database.db, { by: ['model'], limit: 50 })).items

const untilCalls = (count: number) =>
  until(async () => {
    const items = await sum()
    return items.reduce((calls, item) => calls + item.calls, 0) >= count
  }, `${count} usage rows`)

describe('usage-log', () => {
  it('writes one row for each call, however often it is told', async () => {
    const { usage } = await start()
    const first = row()
    for (const one of [first, first, row(), { ...first }]) usage.record(one)
    await untilCalls(2)
    await usage.stop()
    expect(await sum()).toEqual([
      {
        keys: { model: 'gpt-4o' },
        ...{ calls: 2, failedCalls: 0, estimatedCalls: 0, unpricedCalls: 0 },
        ...{ inputTokens: 200, cachedInputTokens: 80, outputTokens: 40, reasoningTokens: 10 },
        costNanoUsd: '2000',
      },
    ])
  })

  it('stores what an upstream may call itself', async () => {
    const { usage } = await start()
    const odd = { ...row().usage, inputTokens: Number.NaN, outputTokens: 1.4 }
    usage.record(row({ model: 'a\0b\ud800', servedModel: 'x'.repeat(5_000), usage: odd }))
    await untilCalls(1)
    expect(await sum()).toMatchObject([{ inputTokens: 0, outputTokens: 1 }])
  })

  it('keeps rows in its folder while the database is away, also over its own end', async () => {
    const away = openDatabase(AWAY, { log })
    const { usage } = await start(away.db)
    const rows = [row(), row()]
    usage.record(rows[0]!)
    await until(async () => (await readdir(folder)).length === 1, 'the spool')
    usage.record(rows[1]!)
    await usage.stop()
    await away.close()
    await start()
    await untilCalls(2)
    await until(async () => (await readdir(folder)).length === 0, 'the spool to be empty')
    expect(await sum()).toMatchObject([{ calls: 2 }])
  })

  it('drops and counts what is more than may wait', async () => {
    const away = openDatabase(AWAY, { log })
    const { usage, registry } = await start(away.db, { pendingMax: 2 })
    for (let n = 0; n < 5; n += 1) usage.record(row())
    const metric = await registry.getSingleMetricAsString('bzzz_llm_usage_rows_total')
    expect(metric).toContain('{outcome="dropped"} 3')
    await usage.stop()
    await away.close()
  })
})

describe('usage-store', () => {
  it('puts costs by another price map in place of those there', async () => {
    const { usage } = await start()
    const rows = Array.from({ length: 3 }, () => row())
    for (const one of rows) usage.record(one)
    await untilCalls(3)
    const seen: UsageRow[] = []
    for await (const page of walkUsage(database.db, {}, signal)) seen.push(...page)
    const byId = (one: UsageRow, other: UsageRow) => one.id.localeCompare(other.id)
    expect(seen).toEqual(rows.toSorted(byId))
    await rewriteCosts(database.db, [
      { id: rows[0]!.id, costNanoUsd: '5', priced: true, priceMap: 'new' },
      { id: rows[1]!.id, costNanoUsd: '0', priced: false, priceMap: 'new' },
    ])
    expect(await sum()).toMatchObject([{ costNanoUsd: '1005', unpricedCalls: 1 }])
  })
})

describe('GET /v1/usage', () => {
  async function serve(db: OpenDatabase['db'] | null = database.db) {
    const tokens = await createTestTokens(folder)
    const app = createService(
      { name: 'test', log, registry: new Registry(), version: '0' } as never,
      { healthPaths: [], readyPaths: [], ready: () => Promise.resolve({ ready: true }) },
    )
    await app.register(authPlugin, { verify: await createKeyFileVerifier(tokens.keysFile) })
    await app.register(usageRoutes, { db: db ?? undefined })
    const get = async (query: string, projects = ['*']) => {
      const token = await tokens.create({ role: 'viewer', projects })
      const headers = { authorization: `Bearer ${token}` }
      const answer = await app.inject({ url: `/v1/usage${query}`, headers })
      return { status: answer.statusCode, body: answer.json<Record<string, unknown>>() }
    }
    return { get }
  }

  beforeEach(async () => {
    const { usage } = await start()
    const rows = [
      row({ costNanoUsd: '5', at: '2026-11-19T23:59:59.999Z' }),
      row({ costNanoUsd: '70', model: 'gpt-5', agent: 'tester' }),
      row({ costNanoUsd: '1', project: 'apollo-2', outcome: 'cut' }),
      row({ costNanoUsd: '300', project: 'zeus', model: 'gpt-5', status: 200, priced: false }),
    ]
    for (const one of rows) usage.record(one)
    await untilCalls(4)
    await usage.stop()
  })

  it('tells usage by model, agent, project and day', async () => {
    const { get } = await serve()
    const from = 'from=2026-11-01'
    const items = async (query: string, projects?: string[]) => {
      const { body } = await get(`?${from}&${query}`, projects)
      return (body['items'] as { keys: object; costNanoUsd: string }[]).map(
        ({ keys, costNanoUsd }) => [...Object.values(keys), costNanoUsd].join(' '),
      )
    }
    expect(await items('by=model')).toEqual(['gpt-5 370', 'gpt-4o 6'])
    expect(await items('by=project,agent')).toEqual([
      ...['zeus coder 300', 'apollo tester 70', 'apollo coder 5', 'apollo-2 coder 1'],
    ])
    expect(await items('by=day')).toEqual(['2026-11-19 5', '2026-11-20 371'])
    expect(await items('by=model&to=2026-11-20')).toEqual(['gpt-4o 5'])
    expect(await items('by=model&project=apollo&agent=tester')).toEqual(['gpt-5 70'])
    expect(await items('by=project', ['apollo'])).toEqual(['apollo 75'])
    expect(await items('by=project', ['apollo-*', 'zeus'])).toEqual(['zeus 300', 'apollo-2 1'])
  })

  it('begins days at midnight of UTC, wherever its server is', async () => {
    const url = new URL(database.url)
    url.searchParams.set('options', '-c timezone=Pacific/Auckland')
    const far = openDatabase(url.href, { log })
    try {
      const { get } = await serve(far.db)
      const { body } = await get('?from=2026-11-01&by=day&to=2026-11-21')
      expect(body['items']).toMatchObject([
        { keys: { day: '2026-11-19' }, calls: 1 },
        { keys: { day: '2026-11-20' }, calls: 3 },
      ])
      expect((await get('?from=2026-11-20&by=day')).body['items']).toMatchObject([{ calls: 3 }])
    } finally {
      await far.close()
    }
  })

  it('goes on where a page ended', async () => {
    const { get } = await serve()
    const { body } = await get('?from=2026-11-01&by=project&limit=2')
    expect(body).toMatchObject({ next: 2, items: [{ calls: 1, unpricedCalls: 1 }, { calls: 2 }] })
    const rest = await get('?from=2026-11-01&by=project&limit=2&after=2')
    expect(rest.body).toMatchObject({ next: null, items: [{ calls: 1, failedCalls: 1 }] })
  })

  it('refuses what it cannot tell, and says when there is no database', async () => {
    const { get } = await serve()
    for (const query of ['?by=mood', '?by=model,agent,project,day', '?from=yesterday']) {
      expect(await get(query)).toMatchObject({ status: 400 })
    }
    expect(await get('?project=zeus', ['apollo'])).toMatchObject({ status: 403 })
    const none = await serve(null)
    expect(await none.get('')).toMatchObject({ status: 503 })
  })
})
