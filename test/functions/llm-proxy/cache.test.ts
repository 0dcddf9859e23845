import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { post, startProxy, type TestProxy } from '../../helpers/llm-proxy.ts'
import {
  chatCompletion,
  chatEvents,
  events,
  failure,
  json,
  MockUpstream,
  resetInside,
} from '../../helpers/mock-upstream.ts'

let mock: MockUpstream
let proxy: TestProxy

beforeAll(async () => {
  mock = await MockUpstream.start()
  const upstreams = { main: { baseURL: mock.url } }
  proxy = await startProxy({
    config: { upstreams, cache: { enabled: true, bytes: '16KiB', entries: 5 } },
  })
})

afterAll(async () => {
  await proxy.close()
  await mock.close()
})

beforeEach(() => mock.reset())

const ask = (body: object | string, headers: Record<string, string> = {}, on = proxy) =>
  on.call('/chat/completions', post(body, headers))

/** A request that no other test has made. */
let made = 0
const fresh = (more: object = {}) => {
  made += 1
  return { model: 'm', messages: [{ role: 'user', content: `question ${made}` }], ...more }
}

const cacheOf = (answer: Response) => answer.headers.get('bzzz-cache')

describe('llm-proxy: the exact cache', () => {
  it('is off unless the configuration says otherwise', async () => {
    const plain = await startProxy({ config: { upstreams: { main: { baseURL: mock.url } } } })
    try {
      const body = fresh()
      for (let time = 0; time < 2; time += 1) {
        expect(cacheOf(await ask(body, {}, plain))).toBeNull()
      }
      expect(mock.calls).toHaveLength(2)
    } finally {
      await plain.close()
    }
  })

  it('answers the same request without asking anybody, whatever its spaces and order', async () => {
    const { messages } = fresh()
    const first = await ask(JSON.stringify({ model: 'm', messages }))
    expect(cacheOf(first)).toBe('miss')
    const again = await ask(JSON.stringify({ messages, model: 'm' }, null, 2))
    expect(cacheOf(again)).toBe('hit')
    expect(again.headers.get('bzzz-upstream')).toBe('main')
    expect(await again.text()).toBe(await first.text())
    expect(mock.calls).toHaveLength(1)
  })

  it('replays a stream byte for byte', async () => {
    mock.next(events(chatEvents()))
    const body = fresh({ stream: true, stream_options: { include_usage: true } })
    const first = await (await ask(body)).text()
    const again = await ask(body)
    expect(cacheOf(again)).toBe('hit')
    expect(again.headers.get('content-type')).toContain('text/event-stream')
    expect(await again.text()).toBe(first)
    expect(first).toBe(chatEvents().join(''))
  })

  it('keeps projects, models and other requests apart', async () => {
    const body = fresh()
    const headers = { 'bzzz-project': 'apollo' }
    await ask(body, headers)
    expect(cacheOf(await ask(body, { 'bzzz-project': 'gemini' }))).toBe('miss')
    expect(cacheOf(await ask({ ...body, model: 'other' }, headers))).toBe('miss')
    expect(cacheOf(await ask({ ...body, temperature: 0 }, headers))).toBe('miss')
    expect(cacheOf(await ask({ ...body, stream: true }, headers))).toBe('miss')
    expect(cacheOf(await ask(body, headers))).toBe('hit')
  })

  it('takes no number for another that is nearly the same', async () => {
    const { messages } = fresh()
    const seeded = (seed: string) =>
      ask(`{"model":"m","seed":${seed},"messages":${JSON.stringify(messages)}}`)
    for (const seed of ['12345678901234567890', '12345678901234567891', '0.1', '7']) {
      expect(cacheOf(await seeded(seed)), seed).toBe('miss')
      expect(cacheOf(await seeded(seed)), seed).toBe('hit')
    }
  })

  it('keeps neither failures nor what broke off', async () => {
    const body = fresh({ stream: true })
    mock.next(failure(400), resetInside(chatEvents().slice(0, 3)))
    expect((await ask(body)).status).toBe(400)
    await expect((await ask(body)).text()).rejects.toThrow()
    mock.next(events(chatEvents()))
    expect(cacheOf(await ask(body))).toBe('miss')
  })

  it('asks anew when it is told to', async () => {
    const body = fresh()
    await ask(body)
    expect(cacheOf(await ask(body, { 'cache-control': 'no-cache' }))).toBeNull()
    expect(mock.calls).toHaveLength(2)
  })

  it('is bounded in entries and in bytes', async () => {
    const first = fresh()
    await ask(first)
    for (let more = 0; more < 5; more += 1) await ask(fresh())
    expect(cacheOf(await ask(first))).toBe('miss')
    const large = fresh()
    mock.next(json(chatCompletion({ content: 'x'.repeat(20_000) })))
    await ask(large)
    expect(cacheOf(await ask(large))).toBe('miss')
    const bytes = await proxy.registry.getSingleMetric('bzzz_llm_cache_bytes')!.get()
    expect(bytes.values[0]!.value).toBeLessThanOrEqual(16 * 1024)
  })
})
