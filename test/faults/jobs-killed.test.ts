import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import pg from 'pg'
import { describe, expect, it } from 'vitest'

import { findFreePort } from '../../cli/up/ports.ts'
import { createSilentLogger } from '../../shared/log/log.ts'
import { openQueue } from '../../shared/queue/open-queue.ts'
import { startChild, type Child } from '../helpers/child.ts'
import { stackOf } from '../helpers/job-cluster.ts'
import { startQueueServer } from '../helpers/queue-server.ts'
import { createTestTokens } from '../helpers/tokens.ts'
import { beginFault, sleep } from './rounds.ts'

/** Submitted in each round, while one of the two processes is killed. */
const JOBS = 10
/** The longest time after the begin of a round at which the kill comes. */
const KILL_AFTER_MS_MAX = 400
/** Between two attempts to submit while no gateway is there. */
const SUBMIT_PAUSE_MS = 50

const TIMEOUT_MS = 3_600_000

interface World {
  url: string
  databaseURL: string
  gatewayEnv: Record<string, string>
  connectorEnv: Record<string, string>
}

const startGateway = ({ gatewayEnv: env }: World) =>
  startChild<object>(new URL('../../gateway/main.ts', import.meta.url), { env })
const startConnector = ({ connectorEnv: env }: World) =>
  startChild<object>(new URL('../../connector/main.ts', import.meta.url), { env })

async function createWorld(folder: string, databaseURL: string): Promise<World> {
  const tokens = await createTestTokens(folder)
  const handler = join(import.meta.dirname, 'functions', 'counter')
  await writeFile(join(folder, 'stack.yml'), stackOf({ counter: { handler } }))
  const port = String(await findFreePort())
  const common = {
    DATABASE_URL: databaseURL,
    REDIS_URL: '',
    BZZZ_LOG_LEVEL: 'silent',
    // Both are started again and again.
    NODE_COMPILE_CACHE: join(folder, 'cache'),
  }
  return {
    url: `http://127.0.0.1:${port}`,
    databaseURL,
    gatewayEnv: {
      ...common,
      BZZZ_GATEWAY_PORT: port,
      BZZZ_GATEWAY_METRICS_PORT: '0',
      BZZZ_GATEWAY_DATA_DIR: join(folder, 'gateway'),
      BZZZ_STACK_FILE: join(folder, 'stack.yml'),
      BZZZ_TOKEN_KEYS_FILE: tokens.keysFile,
    },
    connectorEnv: {
      ...common,
      BZZZ_GATEWAY_URL: `http://127.0.0.1:${port}`,
      BZZZ_TOKEN: await tokens.create(),
      BZZZ_CONNECTOR_PORT: '0',
      BZZZ_JOB_LOCK: '1s',
      BZZZ_POLL_INTERVAL: '500ms',
    },
  }
}

/** As a client does that wants its job done once: the same key until somebody has taken it in. */
async function submit({ url }: World, key: string): Promise<string> {
  for (;;) {
    const answer = await fetch(`${url}/async-function/counter`, {
      method: 'POST',
      headers: { 'idempotency-key': key },
      body: key,
    }).catch(() => null)
    await answer?.arrayBuffer().catch(() => null)
    if (answer?.status === 202) return answer.headers.get('x-call-id')!
    if (answer && answer.status !== 503) throw new Error(`Answered with ${answer.status}.`)
    await sleep(SUBMIT_PAUSE_MS)
  }
}

async function query<T extends pg.QueryResultRow>(url: string, text: string): Promise<T[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<T>(text)).rows
  } finally {
    await client.end()
  }
}

describe('jobs whose gateway and connector are killed', () => {
  it(
    'end once in effect, and none is lost',
    async (context) => {
      const rounds = { short: 4, long: 200 }
      const { row, random } = beginFault(context, {
        fault: 'kill -9 in the middle of jobs',
        rounds,
      })
      const folder = await mkdtemp(join(tmpdir(), 'bzzz-killed-'))
      const server = await startQueueServer()
      const world = await createWorld(folder, server.url)
      await query(
        server.url,
        `create table keys (key text primary key); create table calls (key text);
         create table counter (n int); insert into counter values (0)`,
      )
      const running: { gateway?: Child<object>; connector?: Child<object> } = {}
      const queue = openQueue({ log: createSilentLogger() }, { databaseURL: server.url })!
      try {
        running.gateway = await startGateway(world)
        running.connector = await startConnector(world)
        const ids: Promise<string>[] = []
        for (let round = 0; round < row.rounds; round += 1) {
          for (let n = 0; n < JOBS; n += 1) ids.push(submit(world, `key-${round}-${n}`))
          await sleep(random() * KILL_AFTER_MS_MAX)
          // Both now and then; else one of them.
          const victim = Math.floor(random() * 5)
          if (victim !== 0) await running.connector.kill()
          if (victim === 0 || victim > 2) await running.gateway.kill()
          if (victim === 0 || victim > 2) running.gateway = await startGateway(world)
          if (victim !== 0) running.connector = await startConnector(world)
        }
        const known = await Promise.all(ids)
        const states = () => Promise.all(known.map(async (id) => (await queue.get(id)).state))
        const ended = ['completed', 'failed']
        await expect
          .poll(async () => (await states()).filter((state) => !ended.includes(state)), {
            timeout: 300_000,
            interval: 200,
          })
          .toEqual([])
        row.lost = (await states()).filter((state) => state !== 'completed').length
        const [counter] = await query<{ n: number }>(server.url, 'select n from counter')
        const [calls] = await query<{ n: string }>(server.url, 'select count(*) as n from calls')
        row.note = `${known.length} jobs, ${calls!.n} calls`
        row.wrong = Math.abs(counter!.n - known.length)
        expect(new Set(known).size).toBe(row.rounds * JOBS)
        expect(row).toMatchObject({ lost: 0, wrong: 0 })
      } finally {
        await queue.close()
        await running.connector?.kill()
        await running.gateway?.kill()
        await server.stop()
        await rm(folder, { recursive: true, force: true })
      }
    },
    TIMEOUT_MS,
  )
})
