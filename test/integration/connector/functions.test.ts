import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { runCli } from '../../../cli/cli.ts'
import type { JobJSON } from '../../../shared/queue/job-json.ts'
import { createCommandHost } from '../../helpers/command-host.ts'
import { startJobCluster, type JobCluster } from '../../helpers/job-cluster.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'

const ROOT = join(import.meta.dirname, '..', '..', '..')
const WAIT = { timeout: 30_000, interval: 20 }

let cluster: JobCluster
let daemon: MemoryDaemon
let tokens: Record<'ada' | 'bob' | 'viewer' | 'admin', string>

beforeAll(async () => {
  daemon = await startMemoryDaemon()
  const environment = { BZZZ_ENDPOINT: daemon.url, BZZZ_TOKEN_KEYS_FILE: daemon.tokens.keysFile }
  const admin = await daemon.tokens.create()
  cluster = await startJobCluster(
    {
      jobs: { handler: join(ROOT, 'functions', 'jobs'), environment },
      maintenance: {
        handler: join(ROOT, 'functions', 'maintenance'),
        annotations: { schedule: '* * * * * *', 'bzzz.job.authorize': 'connector' },
        environment,
      },
      worker: {
        handler: join(ROOT, 'test', 'connector', 'functions', 'worker'),
        annotations: { topic: 'greetings' },
      },
    },
    {
      BZZZ_TOKEN_KEYS_FILE: daemon.tokens.keysFile,
      BZZZ_TOKEN: admin,
      BZZZ_ENDPOINT: daemon.url,
    },
  )
  const agent = (subject: string) => daemon.tokens.create({ subject, role: 'agent' })
  tokens = {
    ada: await agent('ada'),
    bob: await agent('bob'),
    viewer: await daemon.tokens.create({ subject: 'ada', role: 'viewer' }),
    admin,
  }
})

afterAll(async () => {
  await cluster.stop()
  await daemon.close()
})

function jobs(
  who: keyof typeof tokens,
  path: string,
  init: { method?: string; json?: object } = {},
) {
  return fetch(`${cluster.url}/function/jobs/${path}`, {
    method: init.method ?? 'GET',
    headers: {
      authorization: `Bearer ${tokens[who]}`,
      ...(init.json && { 'content-type': 'application/json' }),
    },
    ...(init.json && { body: JSON.stringify(init.json) }),
  })
}

async function submit(json: object): Promise<{ id: string; children?: string[] }> {
  const answer = await jobs('ada', '', { method: 'POST', json })
  expect(answer.status).toBe(202)
  return (await answer.json()) as { id: string; children?: string[] }
}

async function ended(id: string): Promise<JobJSON> {
  const look = async () => (await (await jobs('ada', encodeURIComponent(id))).json()) as JobJSON
  await expect.poll(async () => (await look()).state, WAIT).toMatch(/completed|failed/)
  return look()
}

async function bzzz(...args: string[]) {
  const { host, stdout, stderr } = createCommandHost({
    BZZZ_GATEWAY_URL: cluster.url,
    BZZZ_TOKEN: tokens.admin,
  })
  const code = await runCli(['jobs', ...args], host)
  return { code, out: stdout.text(), err: stderr.text() }
}

describe('the function jobs', () => {
  it('takes a job in, runs it with the rights of its submitter, and shows the result', async () => {
    const { id } = await submit({ function: 'worker', body: 'from ada' })
    const job = await ended(id)
    expect(job).toMatchObject({ state: 'completed', owner: 'ada', result: { status: 200 } })
    const seen = (globalThis as unknown as { workerSeen: { headers: Map<string, object> } })
      .workerSeen
    expect(seen.headers.get('worker from ada')).toMatchObject({
      authorization: `Bearer ${tokens.ada}`,
    })
  })

  it('runs a flow: the children, then their parent with what they answered', async () => {
    const flow = await submit({
      function: 'worker',
      children: [
        { topic: 'greetings', body: 'one' },
        { function: 'worker', body: 'two' },
      ],
    })
    expect(flow.children).toHaveLength(2)
    const parent = await ended(flow.id)
    const { got } = JSON.parse(parent.result!.body!) as { got: string }
    const { children } = JSON.parse(got) as { children: { id: string }[] }
    expect(children.map(({ id }) => id).toSorted()).toEqual(flow.children!.toSorted())
  })

  it('hides a job from everybody but its owner and administrators', async () => {
    const { id } = await submit({ function: 'worker', delayMs: 3_600_000 })
    expect((await jobs('viewer', id)).status).toBe(200)
    expect((await jobs('bob', id)).status).toBe(404)
    expect((await jobs('bob', id, { method: 'DELETE' })).status).toBe(404)
    expect((await jobs('viewer', id, { method: 'DELETE' })).status).toBe(403)
    expect((await jobs('viewer', '', { method: 'POST', json: {} })).status).toBe(403)
    expect((await jobs('admin', id)).status).toBe(200)
    const removed = await jobs('ada', id, { method: 'DELETE' })
    expect(await removed.json()).toEqual({ id, outcome: 'removed' })
    expect((await jobs('ada', id)).status).toBe(404)
  })

  it('refuses what is no job', async () => {
    const answer = await jobs('ada', '', { method: 'POST', json: { topic: 'calls' } })
    expect(answer.status).toBe(400)
  })
})

describe('the function maintenance', () => {
  it('runs by its schedule with the token of the connector, and with no other', async () => {
    const runs = async () => {
      const answer = await fetch(`${cluster.url}/system/jobs?state=completed&limit=500`, {
        headers: { authorization: `Bearer ${tokens.admin}` },
      })
      const page = (await answer.json()) as { jobs: JobJSON[] }
      return page.jobs.filter((job) => job.function === 'maintenance').length
    }
    await expect.poll(runs, WAIT).toBeGreaterThan(0)
    // Whoever calls it through the queue has no more rights than its own token.
    const headers = { 'x-schedule': 'maintenance', authorization: `Bearer ${tokens.ada}` }
    const forged = await cluster.submit('maintenance', { headers })
    await expect
      .poll(async () => {
        const answer = await fetch(`${cluster.url}/system/jobs/${forged}`, {
          headers: { authorization: `Bearer ${tokens.admin}` },
        })
        return ((await answer.json()) as JobJSON).reason
      }, WAIT)
      .toContain('maintenance answered 403')
  })
})

describe('bzzz jobs', () => {
  it('lists, shows, watches, retries and cancels', async () => {
    const { id } = await submit({ function: 'worker', path: '/fail/400/1', body: 'by cli' })
    const watched = await bzzz('watch', id)
    expect(watched).toMatchObject({ code: 1 })
    expect(watched.out).toContain('worker answered 400')
    expect((await bzzz('ls', '--state', 'failed')).out).toContain(id)
    expect(await bzzz('retry', id)).toMatchObject({ code: 0 })
    const again = await bzzz('watch', id, '--json')
    expect(again.code).toBe(0)
    expect(JSON.parse(again.out)).toMatchObject({ id, state: 'completed' })
    const shown = await bzzz('show', id)
    expect(shown.out).toMatch(/state +completed/)
    expect(await bzzz('cancel', id)).toMatchObject({ code: 0, out: `${id} is removed.\n` })
    expect(await bzzz('show', id)).toMatchObject({ code: 1 })
    expect((await bzzz('ls', '--limit', '1')).err).toContain('--cursor')
    expect((await bzzz('ls', '--state', 'nonsense')).code).toBe(1)
  })
})
