import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { post, startProxy, type TestProxy } from '../../helpers/llm-proxy.ts'
import { until } from '../../helpers/mesh.ts'
import { json, MockUpstream, resetBefore, type MockAnswer } from '../../helpers/mock-upstream.ts'

/** How a server may show that it is not well. */
const ILLS: Record<string, MockAnswer> = {
  error: json({}, 503),
  redirect: json({}, 302, { location: '/elsewhere' }),
  reset: resetBefore(),
  silence: () => undefined,
}

let mock: MockUpstream
let spare: MockUpstream
let proxy: TestProxy | undefined
let isWell: boolean

beforeEach(async () => {
  mock = await MockUpstream.start()
  spare = await MockUpstream.start()
  isWell = true
  const chat = mock.otherwise
  // Calls are always answered well; only probes tell.
  mock.otherwise = (response, call) => {
    const ill = ILLS[/^\/health\/(\w+)$/.exec(call.path)?.[1] ?? '']
    if (!ill) return chat(response, call)
    return isWell ? json({ status: 'ok' })(response, call) : ill(response, call)
  }
})

afterEach(async () => {
  await proxy?.close()
  await mock.close()
  await spare.close()
})

async function start(upstreams: object): Promise<TestProxy> {
  proxy = await startProxy({
    config: { upstreams: { ...upstreams, spare: { baseURL: spare.url, priority: 1 } } },
    secrets: { key: 'sk-first' },
  })
  return proxy
}

const ask = async (model: string) => {
  const answer = await proxy!.call('/chat/completions', post({ model, messages: [] }))
  expect(answer.status).toBe(200)
  return answer.headers.get('bzzz-upstream')
}

const gauge = async (name: string) => {
  const { values } = await proxy!.registry.getSingleMetric(name)!.get()
  return values.map(({ labels, value }) => `${labels['upstream']} ${value}`)
}

describe('llm-proxy: probes of upstreams', () => {
  it('have an upstream asked last while they fail, however, and first again afterwards', async () => {
    const names = Object.keys(ILLS)
    await start(
      Object.fromEntries(
        names.map((name) => {
          const health = { path: `/health/${name}`, interval: '1s', timeout: '300ms', failures: 1 }
          return [name, { baseURL: mock.url, apiKeyFile: 'key', models: [name], health }]
        }),
      ),
    )
    const asked = () => Promise.all(names.map(ask))
    await until(() => mock.calls.length >= names.length, 'the first probes')
    expect(mock.last).toMatchObject({ method: 'GET' })
    expect(mock.last.headers.authorization).toBe('Bearer sk-first')
    expect(await asked()).toEqual(names)
    expect(await gauge('bzzz_llm_upstream_healthy')).toEqual(names.map((name) => `${name} 1`))
    isWell = false
    await until(async () => (await asked()).every((by) => by === 'spare'), 'the spare one alone')
    expect(await gauge('bzzz_llm_upstream_healthy')).toEqual(names.map((name) => `${name} 0`))
    expect(await gauge('bzzz_llm_upstream_avoided')).toContain('error 1')
    // Asked last, but asked: nobody else is there.
    await spare.close()
    expect(await ask('reset')).toBe('reset')
    await spare.reopen()
    isWell = true
    await until(async () => !(await asked()).includes('spare'), 'each to be asked again')
  })

  it('ask for the list of models where nothing else is said', async () => {
    await start({ first: { baseURL: mock.url, health: {} } })
    await until(() => mock.calls.length > 0, 'the first probe')
    expect(mock.last).toMatchObject({ method: 'GET', path: '/v1/models' })
    expect(spare.calls).toHaveLength(0)
  })

  it('are off where nothing is said', async () => {
    await start({ first: { baseURL: mock.url } })
    await new Promise((resolve) => setTimeout(resolve, 600))
    expect(mock.calls).toHaveLength(0)
    expect(await gauge('bzzz_llm_upstream_healthy')).toEqual([])
  })

  it.each([{ interval: '10ms' }, { path: 'health' }, { path: '/a/../b' }, { path: '/x?y' }])(
    'are refused with %j',
    async (health) => {
      const started = start({ first: { baseURL: mock.url, health } })
      await expect(started).rejects.toMatchObject({ code: 'BZZZ_CONFIG_INVALID' })
      proxy = undefined
    },
  )
})
