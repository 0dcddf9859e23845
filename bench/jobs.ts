import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { createPostgresBackend, Queue, Worker } from 'bullmq'
import { Pool } from 'undici'

import { startConnector } from '../connector/connector.ts'
import { createSilentLogger } from '../shared/log/log.ts'
import { openQueue } from '../shared/queue/open-queue.ts'
import { CALLS_TOPIC } from '../shared/queue/names.ts'
import { startChild } from '../test/helpers/child.ts'
import { startQueueServer } from '../test/helpers/queue-server.ts'
import { createTestTokens } from '../test/helpers/tokens.ts'
import { median, row, type Row } from './row.ts'

export const name = 'jobs'

const JOBS = 1_000
const CONCURRENCY = 16
const ROUNDS = 3
const BODY = 'x'.repeat(200)
/** Between two looks whether all are done; ours is measured to the last job all the same. */
const POLL_MS = 5

/** One place where jobs can lie. */
interface Place {
  title: string
  databaseURL?: string
  redisURL?: string
}

/**
 * Jobs a second through the connector, beside a bare BullMQ worker that makes the same HTTP call.
 * Redis is measured where REDIS_URL names one.
 */
export async function run(): Promise<Row[]> {
  const server = await startQueueServer()
  const dir = await mkdtemp(join(tmpdir(), 'bzzz-bench-jobs-'))
  try {
    const redisURL = process.env['REDIS_URL']
    const rows = [await measure(dir, { title: 'PostgreSQL', databaseURL: server.url })]
    if (redisURL) rows.push(await measure(dir, { title: 'Redis', redisURL }))
    else console.error('jobs: no REDIS_URL, so Redis is not measured.')
    return rows
  } finally {
    await server.stop()
    await rm(dir, { recursive: true })
  }
}

async function measure(dir: string, place: Place): Promise<Row> {
  const tokens = await createTestTokens(dir)
  await writeFile(join(dir, 'stack.yml'), stackFile())
  const gateway = await startChild<{ ports: { gateway: number } }>(
    new URL('../gateway/main.ts', import.meta.url),
    {
      env: {
        BZZZ_GATEWAY_PORT: '0',
        BZZZ_GATEWAY_METRICS_PORT: '0',
        BZZZ_STACK_FILE: join(dir, 'stack.yml'),
        BZZZ_TOKEN_KEYS_FILE: tokens.keysFile,
        BZZZ_LOG_LEVEL: 'error',
        DATABASE_URL: '',
        REDIS_URL: '',
      },
    },
  )
  const url = `http://127.0.0.1:${gateway.ready.ports.gateway}`
  const token = await tokens.create()
  const rates: { ours: number[]; peer: number[] } = { ours: [], peer: [] }
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      rates.ours.push(await ours(url, token, place))
      rates.peer.push(await bare(url, place))
    }
  } finally {
    await gateway.stop()
  }
  return row({
    work: `run ${JOBS} jobs that call a function, ${CONCURRENCY} at once, on ${place.title}`,
    beside: 'a bare BullMQ worker that makes the same call',
    ours: median(rates.ours),
    peer: median(rates.peer),
    unit: 'jobs/s',
    bar: { atLeast: 0.7 },
  })
}

async function ours(url: string, token: string, place: Place): Promise<number> {
  const { databaseURL, redisURL } = place
  const queue = openQueue({ log: createSilentLogger() }, { databaseURL, redisURL })!
  const done = async () => (await queue.counts(CALLS_TOPIC)).completed
  const before = await done()
  const body = Buffer.from(BODY).toString('base64')
  const call = { function: 'constant', path: '/x', headers: {}, body }
  for (let n = 0; n < JOBS; n += 1) await queue.submit({ topic: CALLS_TOPIC, call })
  const startedAt = performance.now()
  const connector = await startConnector({
    env: {
      BZZZ_GATEWAY_URL: url,
      BZZZ_TOKEN: token,
      BZZZ_CONNECTOR_PORT: '0',
      BZZZ_JOB_CONCURRENCY: String(CONCURRENCY),
      BZZZ_LOG_LEVEL: 'error',
      DATABASE_URL: databaseURL,
      REDIS_URL: redisURL,
    },
    signal: new AbortController().signal,
  })
  while ((await done()) < before + JOBS)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  const seconds = (performance.now() - startedAt) / 1000
  await connector.stop()
  await queue.close()
  return JOBS / seconds
}

/** The same options where they cost something: concurrency, attempts, what is kept. */
async function bare(url: string, { databaseURL, redisURL }: Place): Promise<number> {
  const topic = `bare-${performance.now()}`
  const pool = new Pool(url, { connections: CONCURRENCY })
  const process = async () => {
    const answer = await pool.request({ method: 'POST', path: '/function/constant/x', body: BODY })
    return { status: answer.statusCode, body: await answer.body.text() }
  }
  const settings = { concurrency: CONCURRENCY, autorun: false }
  const data = { body: BODY }
  const [queue, worker] = redisURL
    ? [
        new Queue(topic, { connection: { url: redisURL } }),
        new Worker(topic, process, { connection: { url: redisURL }, ...settings }),
      ]
    : [
        new Queue(topic, { connection: databaseURL! }, createPostgresBackend),
        new Worker(
          topic,
          process,
          { connection: databaseURL!, ...settings },
          createPostgresBackend,
        ),
      ]
  for (let n = 0; n < JOBS; n += 1) await queue.add('call', data, { attempts: 8 })
  const startedAt = performance.now()
  void worker.run()
  while ((await queue.getCompletedCount()) < JOBS) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  const seconds = (performance.now() - startedAt) / 1000
  await worker.close()
  await queue.close()
  await pool.destroy()
  return JOBS / seconds
}

function stackFile(): string {
  return `
provider: {name: openfaas}
functions:
  constant:
    lang: node24-ts
    handler: ${join(import.meta.dirname, 'jobs', 'functions', 'constant')}
    image: constant
`
}
