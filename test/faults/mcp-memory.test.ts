import { readFile } from 'node:fs/promises'

import { Pool } from 'undici'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startChild, type Child } from '../helpers/child.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../helpers/memory-daemon.ts'
import { modernRequest } from '../helpers/mcp.ts'
import { startTestPostgres, type TestPostgres } from '../helpers/postgres.ts'
import { beginFault, LONG } from './rounds.ts'

const SERVER = new URL('../../bench/mcp/our-server.ts', import.meta.url)

/** As a process is told that must not size its heap by a larger machine. */
const HEAP = '--max-old-space-size=160 --max-semi-space-size=8'

const CLIENTS = 32
const STEP = LONG ? 10_000 : 2_000

/** What the stack file allows the function, and what it may grow by a step once it is warm. */
const MEMORY_MIB_MAX = 384
const GROWTH_MIB_MAX = 1
/** Steps before the heap has taken its shape; and how many are averaged at either end. */
const WARM_UP_STEPS = 5
const AVERAGED_STEPS = 3

const PAGE_BYTES = 4096

/** Ends a hang. */
const TIMEOUT_MS = 3_600_000

let daemon: MemoryDaemon
let server: Child<{ port: number }>
/** For the audit rows; the short form has none, as its start takes longer than the test. */
let postgres: TestPostgres | undefined
let databaseURL: string | undefined

beforeAll(async () => {
  daemon = await startMemoryDaemon()
  if (LONG) postgres = await startTestPostgres()
  databaseURL = (await postgres?.openMigrated())?.url
  server = await startChild(SERVER, {
    env: {
      BZZZ_ENDPOINT: daemon.url,
      BZZZ_TOKEN_KEYS_FILE: daemon.tokens.keysFile,
      BZZZ_MCP_TOOL_RPM: '100000000',
      NODE_OPTIONS: HEAP,
      ...(databaseURL !== undefined && { DATABASE_URL: databaseURL }),
    },
  })
})

afterAll(async () => {
  await server.stop()
  await daemon.close()
  await postgres?.stop()
})

async function auditRows(): Promise<number> {
  if (!postgres || databaseURL === undefined) return 0
  const [row] = await postgres.query(databaseURL, 'select count(*)::int as rows from audit')
  return Number(row?.['rows'])
}

async function residentMiB(): Promise<number> {
  const text = await readFile(`/proc/${server.process.pid}/statm`, 'utf8')
  return (Number(text.split(' ')[1]) * PAGE_BYTES) / 2 ** 20
}

/** Of both eras, of what goes well and of what does not. */
function messages(token: string) {
  const modern = [
    { method: 'tools/list' },
    { method: 'tools/call', params: { name: 'mesh_whoami', arguments: {} } },
    { method: 'tools/call', params: { name: 'blob_get', arguments: { address: 'no address' } } },
    { method: 'resources/read', params: { uri: 'file:///nowhere' } },
    { method: 'server/discover' },
  ].map((message) => modernRequest(token, message))
  const legacy = ['tools/list', 'ping'].map((method) => {
    const { headers, body } = modernRequest(token, { method })
    const { 'mcp-method': _, ...rest } = headers
    const bare = { jsonrpc: '2.0', id: body.id, method }
    return { headers: { ...rest, 'mcp-protocol-version': '2025-11-25' }, body: bare }
  })
  return [...modern, ...legacy].map(({ headers, body }) => ({
    headers,
    body: JSON.stringify(body),
  }))
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}

describe('mcp: a server made for each request', () => {
  it('leaves nothing behind', { timeout: TIMEOUT_MS }, async (context) => {
    if (process.platform !== 'linux') return context.skip('Memory is read from /proc.')
    const fault = 'MCP requests, memory of the function'
    const rounds = { short: STEP, long: 200_000 }
    const { row } = beginFault(context, { fault, rounds })
    const sent = messages(await daemon.tokens.create())
    const pool = new Pool(`http://127.0.0.1:${server.ready.port}`, { connections: CLIENTS })
    const sizes: number[] = []
    for (let step = 0; step < row.rounds / STEP; step += 1) {
      let left = STEP
      const client = async () => {
        for (; left > 0; left -= 1) {
          const { headers, body } = sent[left % sent.length]!
          const answer = await pool.request({ method: 'POST', path: '/mcp', headers, body })
          await answer.body.dump()
          if (answer.statusCode !== 200) row.wrong += 1
        }
      }
      await Promise.all(Array.from({ length: CLIENTS }, client))
      sizes.push(await residentMiB())
    }
    await pool.close()
    const warm = sizes.slice(WARM_UP_STEPS)
    const growth =
      (mean(warm.slice(-AVERAGED_STEPS)) - mean(warm.slice(0, AVERAGED_STEPS))) /
      Math.max(1, warm.length - AVERAGED_STEPS)
    row.note =
      `resident ${sizes.map((size) => size.toFixed(0)).join(' ')} MiB` +
      (LONG ? `, ${growth.toFixed(2)} MiB for each ${STEP}, ${await auditRows()} audit rows` : '')
    expect(row.wrong).toBe(0)
    expect(Math.max(...sizes)).toBeLessThan(MEMORY_MIB_MAX)
    // A few thousand requests say nothing about a slope.
    if (LONG) expect(await auditRows()).toBeGreaterThan(0)
    if (LONG) expect(growth).toBeLessThanOrEqual(GROWTH_MIB_MAX)
  })
})
