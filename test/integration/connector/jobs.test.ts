import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'

import { verifyCallback } from '../../../shared/queue/callback.ts'
import type { JobJSON } from '../../../shared/queue/job-json.ts'
import { openQueue } from '../../../shared/queue/open-queue.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { startJobCluster, type JobCluster } from '../../helpers/job-cluster.ts'

const HANDLER = join(import.meta.dirname, '..', '..', 'connector', 'functions', 'worker')
const SECRET = 'a secret of sixteen and more'
const WAIT = { timeout: 30_000, interval: 20 }

let cluster: JobCluster
let count = 0

/** The counters of the function, which runs in this process. */
interface Seen {
  calls: Map<string, number>
  effects: Map<string, string[]>
  headers: Map<string, Record<string, unknown>>
}
const seen = () => (globalThis as unknown as { workerSeen: Seen }).workerSeen

beforeAll(async () => {
  cluster = await startJobCluster(
    {
      worker: { handler: HANDLER },
      blue: { handler: HANDLER, annotations: { topic: 'greetings, other' } },
      green: { handler: HANDLER, annotations: { topic: 'greetings', schedule: '* * * * * *' } },
    },
    { BZZZ_CALLBACK_SECRET: SECRET },
  )
})
afterAll(() => cluster.stop())

const fresh = () => `body-${++count}`

async function ended(id: string): Promise<JobJSON> {
  await expect.poll(async () => (await cluster.job(id)).state, WAIT).toMatch(/completed|failed/)
  return cluster.job(id)
}

describe('asynchronous calls', () => {
  it('run later, with headers and path, and their result can be asked for', async () => {
    const body = fresh()
    const id = await cluster.submit('worker/?x=1', {
      body,
      headers: {
        'x-mine': 'kept',
        'content-type': 'text/plain',
        authorization: 'Bearer given-token',
      },
    })
    const job = await ended(id)
    expect(job).toMatchObject({
      id,
      topic: 'calls',
      function: 'worker',
      state: 'completed',
      attempts: 1,
      result: { function: 'worker', status: 200 },
    })
    expect(JSON.parse(job.result!.body!)).toEqual({ name: 'worker', got: body })
    expect(seen().headers.get(`worker ${body}`)).toMatchObject({
      'x-mine': 'kept',
      authorization: 'Bearer given-token',
      'x-call-id': id,
      'idempotency-key': id,
      'x-job-attempt': '1',
    })
    // What a caller sent may carry a token, so it is not shown.
    expect(JSON.stringify(job)).not.toContain('given-token')
  })

  it('run once for one key', async () => {
    const body = fresh()
    const headers = { 'idempotency-key': `key-${body}` }
    const id = await cluster.submit('worker', { body, headers })
    expect(await cluster.submit('worker', { body, headers })).toBe(id)
    await ended(id)
    expect(await cluster.submit('worker', { body, headers })).toBe(id)
    expect(seen().effects.get(`worker ${body}`)).toEqual([`key-${body}`])
    const other = await fetch(`${cluster.url}/async-function/worker`, {
      method: 'POST',
      headers,
      body: 'something else',
    })
    expect(other.status).toBe(422)
    expect(await other.json()).toMatchObject({ error: { code: 'BZZZ_IDEMPOTENCY_MISMATCH' } })
  })

  it.each([429, 500, 503])('are made again after %s', async (status) => {
    const id = await cluster.submit(`worker/fail/${status}/1`, { body: fresh() })
    expect(await ended(id)).toMatchObject({ state: 'completed', attempts: 2 })
  })

  it('are not made again after 404, and say what the function said', async () => {
    const body = fresh()
    const id = await cluster.submit('worker/fail/404/9', { body })
    expect(await ended(id)).toMatchObject({
      state: 'failed',
      attempts: 1,
      reason: 'worker answered 404: {"reason":"no luck 1"}',
      result: { status: 404, body: '{"reason":"no luck 1"}' },
    })
    expect(seen().calls.get(`worker ${body}`)).toBe(1)
  })

  it('can be retried by hand', async () => {
    const id = await cluster.submit('worker/fail/400/1', { body: fresh() })
    expect(await ended(id)).toMatchObject({ state: 'failed' })
    const retried = await cluster.system(`/system/jobs/${id}/retry`, { method: 'POST' })
    expect(retried.status).toBe(202)
    await expect.poll(async () => (await cluster.job(id)).state, WAIT).toBe('completed')
    const again = await cluster.system(`/system/jobs/${id}/retry`, { method: 'POST' })
    expect(again.status).toBe(409)
  })

  it('end when they are cancelled, and the function notices', async () => {
    const body = fresh()
    const id = await cluster.submit('worker/hang', { body })
    await expect.poll(() => seen().calls.get(`worker ${body}`), WAIT).toBe(1)
    const answer = await cluster.system(`/system/jobs/${id}`, { method: 'DELETE' })
    expect(answer.status).toBe(202)
    expect(await ended(id)).toMatchObject({ state: 'failed', reason: 'The job was cancelled.' })
    await expect.poll(() => seen().effects.has(`abandoned ${body}`), WAIT).toBe(true)
    // A job that has ended is forgotten.
    expect((await cluster.system(`/system/jobs/${id}`, { method: 'DELETE' })).status).toBe(200)
    expect((await cluster.system(`/system/jobs/${id}`)).status).toBe(404)
  })

  it('tell their progress while they run', async () => {
    const body = fresh()
    const id = await cluster.submit('worker/progress', { body })
    await expect
      .poll(async () => (await cluster.job(id)).progress, WAIT)
      .toEqual({ percent: 40, message: 'half way' })
    expect(await cluster.job(id)).toMatchObject({ state: 'active' })
    seen().calls.set(`go on ${body}`, 1)
    expect(await ended(id)).toMatchObject({
      state: 'completed',
      result: { status: 200, contentType: 'application/json', body: '{"done":true}' },
    })
  })

  it('take a stream of progress that was cut for no answer', async () => {
    const id = await cluster.submit('worker/cut', { body: fresh() })
    expect(await ended(id)).toMatchObject({
      state: 'completed',
      attempts: 2,
      result: { body: 'whole' },
    })
  })

  it('show bytes as they are, and no body that nobody could keep', async () => {
    const bytes = await ended(await cluster.submit('worker/bytes', { body: fresh() }))
    expect(bytes.result).toMatchObject({ bodyBase64: 'AP/+', size: 3 })
    const large = await ended(await cluster.submit('worker/large', { body: fresh() }))
    expect(large.result).toMatchObject({ status: 200, size: 300 * 1024 })
    expect(large.result).not.toHaveProperty('body')
  })

  it.each([
    ['nobody', {}, 404, 'BZZZ_FUNCTION_NOT_FOUND'],
    ['worker', { 'x-callback-url': 'http://elsewhere.example/' }, 400, 'BZZZ_REQUEST_INVALID'],
    ['worker', { 'x-callback-url': 'file:///etc/passwd' }, 400, 'BZZZ_REQUEST_INVALID'],
    ['worker', { 'idempotency-key': 'x'.repeat(256) }, 400, 'BZZZ_REQUEST_INVALID'],
  ])('of %s are refused', async (name, headers, status, code) => {
    const answer = await fetch(`${cluster.url}/async-function/${name}`, { method: 'POST', headers })
    expect(answer.status).toBe(status)
    expect(await answer.json()).toMatchObject({ error: { code } })
  })

  it('with more than a body may have are refused', async () => {
    const body = 'x'.repeat(1024 * 1024 + 1)
    const answer = await fetch(`${cluster.url}/async-function/worker`, { method: 'POST', body })
    expect(answer.status).toBe(413)
  })
})

describe('callbacks', () => {
  async function receiver(answers: number[]) {
    const got: { headers: IncomingMessage['headers']; body: string }[] = []
    const server = createServer((request, response) => {
      let body = ''
      request.setEncoding('utf8').on('data', (text: string) => (body += text))
      request.on('end', () => {
        got.push({ headers: request.headers, body })
        response.writeHead(answers[got.length - 1] ?? 200).end()
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    return { got, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/done` }
  }

  it('bring the answer, signed, also when the first delivery fails', async () => {
    const { got, url } = await receiver([503, 200])
    const body = fresh()
    const id = await cluster.submit('worker', { body, headers: { 'x-callback-url': url } })
    await expect.poll(() => got.length, WAIT).toBe(2)
    expect(got[1]!.headers).toMatchObject({
      'x-call-id': id,
      'x-function-name': 'worker',
      'x-function-status': '200',
      'x-duration-seconds': expect.stringMatching(/^\d+(\.\d+)?$/) as string,
    })
    expect(JSON.parse(got[1]!.body)).toEqual({ name: 'worker', got: body })
    const check = (text: string) =>
      verifyCallback(SECRET, Buffer.from(text), String(got[1]!.headers['x-bzzz-signature']), {
        nowSeconds: Date.now() / 1000,
        ageSecondsMax: 300,
      })
    expect(check(got[1]!.body)).toBe(true)
    expect(check(`${got[1]!.body} `)).toBe(false)
  })

  it('tell of a failure too', async () => {
    const { got, url } = await receiver([])
    await cluster.submit('worker/fail/418/9', {
      body: fresh(),
      headers: { 'x-callback-url': url },
    })
    await expect.poll(() => got.length, WAIT).toBe(1)
    expect(got[0]!.headers['x-function-status']).toBe('418')
  })
})

describe('topics and schedules', () => {
  it('call every function that subscribes, and again only those that failed', async () => {
    const queue = openQueue({ log: createSilentLogger() }, { databaseURL: cluster.databaseURL })!
    onTestFinished(() => queue.close())
    const body = fresh()
    const call = {
      function: null,
      path: '/',
      headers: {},
      body: Buffer.from(body).toString('base64'),
    }
    const { id } = await queue.submit({ topic: 'greetings', call })
    const job = await ended(id)
    expect(job.results.map((one) => one.function).toSorted()).toEqual(['blue', 'green'])
    // Blue succeeds at its second call; green, asked in its place before, is not asked again.
    seen().calls.set(`green ${body}-2`, 5)
    const flaky = Buffer.from(`${body}-2`).toString('base64')
    const second = await queue.submit({
      topic: 'greetings',
      call: { ...call, path: '/fail/503/1', body: flaky },
    })
    expect(await ended(second.id)).toMatchObject({ state: 'completed', attempts: 2 })
    expect(seen().calls.get(`blue ${body}-2`)).toBe(2)
    expect(seen().calls.get(`green ${body}-2`)).toBe(6)
  })

  it('run what has a schedule, each time under another key', async () => {
    await expect.poll(() => seen().effects.get('green ')?.length ?? 0, WAIT).toBeGreaterThan(1)
    const { jobs } = (await (
      await cluster.system('/system/jobs?state=completed&topic=calls&limit=500')
    ).json()) as { jobs: JobJSON[] }
    expect(jobs.some((job) => job.function === 'green')).toBe(true)
  })

  it('are listed page by page, and only to administrators', async () => {
    const first = await cluster.system('/system/jobs?state=completed&limit=2')
    const page = (await first.json()) as { jobs: JobJSON[]; next: string }
    expect(page.jobs).toHaveLength(2)
    const next = await cluster.system(`/system/jobs?state=completed&limit=2&cursor=${page.next}`)
    const { jobs } = (await next.json()) as { jobs: JobJSON[] }
    expect(jobs.map(({ id }) => id)).not.toContain(page.jobs[0]!.id)
    expect((await cluster.system('/system/jobs?state=nonsense')).status).toBe(400)
    const viewer = await cluster.tokens.create({ role: 'viewer' })
    const headers = { authorization: `Bearer ${viewer}` }
    expect((await fetch(`${cluster.url}/system/jobs`, { headers })).status).toBe(403)
    expect((await fetch(`${cluster.url}/system/jobs`)).status).toBe(401)
  })

  it('are counted', async () => {
    const text = await (await fetch(`${cluster.connectorURL}/metrics`)).text()
    expect(text).toMatch(/bzzz_queue_jobs\{queue="calls",state="completed"\} \d+/)
    expect(text).toMatch(/bzzz_queue_jobs\{queue="greetings",state="completed"\} 2/)
    expect(text).toMatch(/bzzz_job_duration_seconds_count\{queue="calls",result="completed"\} \d+/)
    const ready = await fetch(`${cluster.connectorURL}/readyz`)
    expect(ready.status).toBe(200)
  })
})
