import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { startChild } from '../test/helpers/child.ts'
import { modernRequest } from '../test/helpers/mcp.ts'
import { startTestPostgres } from '../test/helpers/postgres.ts'
import { createTestTokens } from '../test/helpers/tokens.ts'
import { load, type Measured, type Sent } from './mcp/load.ts'
import { median, row, type Row } from './row.ts'

export const name = 'mcp'

const CLIENTS = 32
const SECONDS = 3
const WARM_UP_SECONDS = 1.5
const ROUNDS = 4

/** What no limit may be in the way of. */
const CALLS_PER_MINUTE = 100_000_000

/** Listing the tools and calling one, in turn, with a token and an audit row for each call. */
export async function run(): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), 'bzzz-bench-mcp-'))
  const postgres = await startTestPostgres()
  try {
    const { url: databaseURL } = await postgres.openMigrated()
    return await measure(dir, databaseURL)
  } finally {
    await postgres.stop()
    await rm(dir, { recursive: true })
  }
}

async function measure(dir: string, databaseURL: string): Promise<Row[]> {
  const tokens = await createTestTokens(dir)
  const token = await tokens.create({ subject: 'bench' })
  const env = {
    BZZZ_TOKEN_KEYS_FILE: tokens.keysFile,
    DATABASE_URL: databaseURL,
    BZZZ_ENDPOINT: 'http://127.0.0.1:9',
    BZZZ_MCP_TOOL_RPM: String(CALLS_PER_MINUTE),
  }
  const ours = await startChild<{ port: number }>(new URL('./mcp/our-server.ts', import.meta.url), {
    env,
  })
  const peer = await startChild<{ port: number }>(new URL('./mcp/sdk-server.ts', import.meta.url), {
    env,
  })
  const sent: Sent[] = [
    { method: 'tools/list' },
    { method: 'tools/call', params: { name: 'mesh_whoami', arguments: {} } },
  ].map((message) => {
    const { headers, body } = modernRequest(token, message)
    return { headers, body: JSON.stringify(body) }
  })
  const urls = {
    ours: `http://127.0.0.1:${ours.ready.port}/mcp?toolsets=all`,
    peer: `http://127.0.0.1:${peer.ready.port}/mcp`,
  }
  try {
    const many = await interleaved(urls, sent, CLIENTS)
    const one = await interleaved(urls, sent, 1)
    const beside = 'the SDK’s McpServer built for each request'
    const work = (clients: string) => `list and call, all tools, token and audit, ${clients}`
    return [
      row({
        work: work(`${CLIENTS} clients`),
        beside,
        ours: median(many.ours.map(({ perSecond }) => perSecond)),
        peer: median(many.peer.map(({ perSecond }) => perSecond)),
        unit: 'requests/s',
        bar: { atLeast: 2 },
      }),
      row({
        work: work('1 client, median time'),
        beside,
        ours: median(one.ours.map(({ p50Ms }) => p50Ms)),
        peer: median(one.peer.map(({ p50Ms }) => p50Ms)),
        unit: 'ms',
        bar: { atMost: 0.8 },
      }),
    ]
  } finally {
    await Promise.all([ours.stop(), peer.stop()])
  }
}

async function interleaved(
  urls: Record<'ours' | 'peer', string>,
  sent: readonly Sent[],
  clients: number,
): Promise<Record<'ours' | 'peer', Measured[]>> {
  const found: Record<'ours' | 'peer', Measured[]> = { ours: [], peer: [] }
  for (const which of ['ours', 'peer'] as const) {
    await load(urls[which], sent, { clients, seconds: WARM_UP_SECONDS })
  }
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const which of ['ours', 'peer'] as const) {
      found[which].push(await load(urls[which], sent, { clients, seconds: SECONDS }))
    }
  }
  return found
}
