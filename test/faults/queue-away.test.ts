import { join } from 'node:path'

import { describe, expect, it } from 'vitest'

import { startJobCluster, type JobCluster } from '../helpers/job-cluster.ts'
import { startQueueServer, type QueueServer } from '../helpers/queue-server.ts'
import { findRedisServer, startRedisServer } from '../helpers/redis-server.ts'
import { beginFault, LONG, sleep } from './rounds.ts'

const HANDLER = join(import.meta.dirname, '..', 'connector', 'functions', 'worker')

/** How long the server is away. */
const AWAY_MS = LONG ? 60_000 : 3_000
/** How long it is there before, and again after. */
const THERE_MS = 1_000
/** Callers at once, each with one call of either kind in hand. */
const CALLERS = 4
/** Between two calls of a caller: load, and no more than two processors can bear. */
const PAUSE_MS = 10

const TIMEOUT_MS = 600_000

interface Counts {
  accepted: Map<string, string>
  refused: number
  served: number
  /** Answers that nobody may get. */
  wrong: string[]
}

/** The same key again until it was taken in, as the answer of 503 asks for. */
async function submitLoop({ url }: JobCluster, name: string, counts: Counts, going: () => boolean) {
  for (let n = 0; going(); n += 1) {
    const key = `${name}-${n}`
    while (!counts.accepted.has(key)) {
      const answer = await fetch(`${url}/async-function/worker`, {
        method: 'POST',
        headers: { 'idempotency-key': key },
        body: key,
      })
      await answer.arrayBuffer()
      if (answer.status === 202) counts.accepted.set(key, answer.headers.get('x-call-id')!)
      else if (answer.status === 503 && answer.headers.has('retry-after')) counts.refused += 1
      else counts.wrong.push(`async ${answer.status}`)
      await sleep(PAUSE_MS)
    }
  }
}

/** What needs no queue. */
async function callLoop({ url }: JobCluster, counts: Counts, going: () => boolean) {
  while (going()) {
    const answer = await fetch(`${url}/function/worker`, { method: 'POST', body: 'direct' })
    await answer.arrayBuffer()
    if (answer.status === 200) counts.served += 1
    else counts.wrong.push(`direct ${answer.status}`)
    await sleep(PAUSE_MS)
  }
}

const redis = findRedisServer()

/** Where jobs lie, and what the parts have to be told of it. */
const BACKENDS = [
  { name: 'Postgres', start: startQueueServer, envOf: () => ({ REDIS_URL: '' }) },
  {
    name: 'Redis',
    missing: redis === undefined && 'redis-server is not installed (apt-get install redis-server).',
    start: () => startRedisServer(redis!),
    envOf: ({ url }: QueueServer) => ({ REDIS_URL: url, DATABASE_URL: '' }),
  },
]

describe.each(BACKENDS)('$name of the queue away under load', (backend) => {
  it(
    'loses nothing, refuses with Retry-After, and comes back by itself',
    async (context) => {
      if (backend.missing) return context.skip(backend.missing)
      const { row } = beginFault(context, {
        fault: `${backend.name} of the queue away for ${AWAY_MS / 1000} s`,
        rounds: { short: 1, long: 1 },
      })
      const server = await backend.start()
      const cluster = await startJobCluster(
        { worker: { handler: HANDLER } },
        { BZZZ_JOB_LOCK: '2s', ...backend.envOf(server) },
        server,
      )
      const counts: Counts = { accepted: new Map(), refused: 0, served: 0, wrong: [] }
      try {
        let loading = true
        const going = () => loading
        const load = Array.from({ length: CALLERS }, (_, caller) => [
          submitLoop(cluster, `k${caller}`, counts, going),
          callLoop(cluster, counts, going),
        ]).flat()
        await sleep(THERE_MS)
        await server.pause()
        const before = { served: counts.served, refused: counts.refused }
        await sleep(AWAY_MS)
        const during = { served: counts.served, refused: counts.refused }
        await server.resume()
        const acceptedBefore = counts.accepted.size
        // Every caller has its next job taken in by a server that was not there.
        await expect
          .poll(() => counts.accepted.size, { timeout: 60_000 })
          .toBeGreaterThan(acceptedBefore + CALLERS)
        await sleep(THERE_MS)
        loading = false
        await Promise.all(load)

        expect(counts.wrong).toEqual([])
        expect(during.served).toBeGreaterThan(before.served)
        expect(during.refused).toBeGreaterThan(before.refused)
        const ids = [...counts.accepted.values()]
        expect(new Set(ids).size).toBe(ids.length)
        const states = () => Promise.all(ids.map(async (id) => (await cluster.job(id)).state))
        const open = async () => (await states()).filter((state) => state !== 'completed')
        await expect
          .poll(async () => (await open()).length, { timeout: 120_000, interval: 500 })
          .toBe(0)
        const { effects } = (globalThis as unknown as { workerSeen: Seen }).workerSeen
        for (const key of counts.accepted.keys()) {
          if (!effects.has(`worker ${key}`)) row.lost += 1
          else if (effects.get(`worker ${key}`)!.join(' ') !== key) row.wrong += 1
        }
        row.note = `${ids.length} jobs, ${counts.refused} refused, ${counts.served} direct calls`
        expect(row).toMatchObject({ lost: 0, wrong: 0 })
      } finally {
        await cluster.stop()
        await server.stop()
      }
    },
    TIMEOUT_MS,
  )
})

/** What the function has counted in this process. */
interface Seen {
  effects: Map<string, string[]>
}
