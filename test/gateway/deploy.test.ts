import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { startTestGateway, type TestGateway } from '../helpers/gateway.ts'

let gateway: TestGateway
beforeEach(async () => {
  gateway = await startTestGateway()
})
afterEach(() => gateway.stop())

const IMAGE = 'registry.example/echo:v1'

/** Everything that faas-cli 0.18.12 sends for a function of a stack file. */
function deployment(change: object = {}) {
  return {
    service: 'echo',
    image: IMAGE,
    envProcess: 'node index.mjs',
    envVars: { GREETING: 'hi' },
    constraints: [],
    secrets: [],
    labels: { team: 'red' },
    annotations: { topic: 'news' },
    limits: { memory: '64Mi' },
    readOnlyRootFilesystem: true,
    ...change,
  }
}

async function valueOf(name: string, service = 'echo'): Promise<unknown> {
  const answer = await fetch(`${gateway.url}/function/${service}/env/${name}`)
  return ((await answer.json()) as { value: unknown }).value
}

async function describeFunction(name = 'echo'): Promise<Record<string, unknown>> {
  const answer = await gateway.system('GET', `function/${name}?usage=1`)
  return (await answer.json()) as Record<string, unknown>
}

describe('gateway deploy', () => {
  it('updates a function, answers 202, and tells what was deployed', async () => {
    const answer = await gateway.system('PUT', 'functions', deployment())
    expect(answer.status).toBe(202)
    expect(await describeFunction()).toMatchObject({
      name: 'echo',
      namespace: 'openfaas-fn',
      image: IMAGE,
      envProcess: 'node index.mjs',
      envVars: { GREETING: 'hi' },
      constraints: [],
      secrets: [],
      labels: { team: 'red' },
      annotations: { topic: 'news' },
      limits: { memory: '64Mi' },
      readOnlyRootFilesystem: true,
      replicas: 1,
      availableReplicas: 1,
    })
    expect(await valueOf('GREETING')).toBe('hi')
  })

  it('answers 404 to the update of what is not there, and 202 to the POST that follows', async () => {
    const other = deployment({ service: 'other' })
    const update = await gateway.system('PUT', 'functions', other)
    expect(update.status).toBe(404)
    expect((await gateway.system('POST', 'functions', other)).status).toBe(202)
    expect(await valueOf('OPENFAAS_NAME', 'other')).toBe('other')
    expect(await valueOf('OPENFAAS_NAME')).toBe('echo')
  })

  it('takes null for what is empty, as Go writes it', async () => {
    const empty = { envVars: null, constraints: null, secrets: null, labels: null, limits: null }
    const answer = await gateway.system('PUT', 'functions', deployment(empty))
    expect(answer.status).toBe(202)
    expect(await describeFunction()).toMatchObject({ envVars: {}, labels: {}, secrets: [] })
  })

  it.each([
    ['an unknown image', { image: 'registry.example/echo:v2' }, IMAGE],
    ['a name that is no label of DNS', { service: '../echo' }, 'DNS label'],
    ['another namespace', { namespace: 'elsewhere' }, 'namespace'],
    ['a secret that is nowhere', { secrets: ['key', 'other'] }, 'secret: key, other'],
    ['a setting that the function refuses', { envVars: { exec_timeout: 'soon' } }, 'exec_timeout'],
    ['a port that is none', { annotations: { 'bzzz.port': 'x' } }, 'bzzz.port'],
  ])('refuses %s with 400, and changes nothing', async (_case, change, mention) => {
    const before = await describeFunction()
    const answer = await gateway.system('POST', 'functions', deployment(change))
    expect(answer.status).toBe(400)
    expect(await answer.text()).toContain(mention)
    expect(await describeFunction()).toEqual(before)
    expect(await valueOf('GREETING')).toBe('hello')
  })

  it('finishes what is in flight on the old one', async () => {
    // It ends when its function begins to drain, so it is held by the old one alone.
    const held = fetch(`${gateway.url}/function/echo/until-drain`)
    await gateway.system('PUT', 'functions', deployment({ envVars: { max_inflight: '1' } }))
    expect(await (await held).json()).toEqual({ done: true })
    expect(await valueOf('max_inflight')).toBe('1')
  })

  it('keeps a port of the function’s own over a deployment', async () => {
    const url = `http://127.0.0.1:${gateway.ports['echo']}/env/GREETING`
    expect(await (await fetch(url)).json()).toEqual({ value: 'hello' })
    const annotations = { 'bzzz.port': '0' }
    await gateway.system('PUT', 'functions', deployment({ annotations }))
    expect(await (await fetch(url)).json()).toEqual({ value: 'hi' })
    await gateway.system('PUT', 'functions', deployment({ annotations: {} }))
    await expect(fetch(url)).rejects.toThrow()
  })

  it('comes back after a restart as it was deployed', async () => {
    const labels = { 'com.openfaas.scale.min': '2' }
    await gateway.system('PUT', 'functions', deployment({ labels }))
    await gateway.system('POST', 'functions', deployment({ service: 'other' }))
    const before = await describeFunction()
    await gateway.restart()
    expect(await valueOf('GREETING')).toBe('hi')
    expect(await describeFunction()).toEqual({ ...before, invocationCount: 1 })
    expect(before).toMatchObject({ replicas: 2, availableReplicas: 2 })
    expect(await valueOf('OPENFAAS_NAME', 'other')).toBe('other')
  })

  it('removes a function, for good, until it is deployed again', async () => {
    const removal = { functionName: 'echo' }
    expect((await gateway.system('DELETE', 'functions', removal)).status).toBe(202)
    expect((await fetch(`${gateway.url}/function/echo`)).status).toBe(404)
    expect((await gateway.system('DELETE', 'functions', removal)).status).toBe(404)
    await gateway.restart()
    expect((await fetch(`${gateway.url}/function/echo`)).status).toBe(404)
    expect((await gateway.system('POST', 'functions', deployment())).status).toBe(202)
    expect((await fetch(`${gateway.url}/function/echo`)).status).toBe(200)
  })

  it('serves one change after the other', async () => {
    const changes = Array.from({ length: 6 }, (_, turn) =>
      gateway.system('PUT', 'functions', deployment({ envVars: { GREETING: `turn ${turn}` } })),
    )
    const answers = await Promise.all(changes)
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 6 }, () => 202))
    const { envVars } = (await describeFunction()) as { envVars: { GREETING: string } }
    expect(await valueOf('GREETING')).toBe(envVars.GREETING)
  })
})

describe('gateway scale', () => {
  const scale = (replicas: number) =>
    gateway.system('POST', 'scale-function/echo', { serviceName: 'echo', replicas })

  it('runs as many replicas as asked for, and as the label allows', async () => {
    const envVars = { max_inflight: '1' }
    const labels = { 'com.openfaas.scale.max': '2' }
    await gateway.system('PUT', 'functions', deployment({ envVars, labels }))
    expect((await scale(9)).status).toBe(202)
    expect(await describeFunction()).toMatchObject({ replicas: 2, availableReplicas: 2 })
    // Each takes one request at a time, in turn.
    const held = await Promise.all([hold(1), hold(2)])
    expect(held.map(({ status }) => status)).toEqual([200, 200])
    expect((await hold(3)).status).toBe(429)
    for (const { body } of held) await body?.cancel()
  })

  it('answers 503 where none runs, and serves again after', async () => {
    expect((await scale(0)).status).toBe(202)
    const answer = await fetch(`${gateway.url}/function/echo`)
    expect(answer.status).toBe(503)
    expect(answer.headers.get('retry-after')).toBe('1')
    expect(await answer.json()).toMatchObject({ error: { code: 'BZZZ_FUNCTION_UNAVAILABLE' } })
    await gateway.restart()
    expect(await describeFunction()).toMatchObject({ replicas: 0, availableReplicas: 0 })
    await scale(1)
    expect((await fetch(`${gateway.url}/function/echo`)).status).toBe(200)
  })

  it('knows no function that is not there, nor a number that is none', async () => {
    const unknown = await gateway.system('POST', 'scale-function/nobody', { replicas: 1 })
    expect(unknown.status).toBe(404)
    expect((await scale(-1)).status).toBe(400)
  })
})

/** A request that stays in flight until its body is cancelled. */
function hold(id: number): Promise<Response> {
  return fetch(`${gateway.url}/function/echo/wait/${id}`)
}
