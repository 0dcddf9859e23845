import { request as httpRequest } from 'node:http'

import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'

import { post, startProxy, type TestProxy } from '../../helpers/llm-proxy.ts'
import {
  chatEvents,
  events,
  failure,
  json,
  large,
  malformed,
  MockUpstream,
  resetAfterHead,
  resetBefore,
  resetInside,
  stall,
  undelimited,
  type MockAnswer,
} from '../../helpers/mock-upstream.ts'

const PATIENCE = { timeout: 60_000, interval: 10 }

let first: MockUpstream
let second: MockUpstream
let proxy: TestProxy

beforeAll(async () => {
  first = await MockUpstream.start()
  second = await MockUpstream.start()
  // Avoided for nothing but a Retry-After: each test begins with the first one.
  const common = { coolDown: { failures: 1000 }, apiKeyFile: 'key' }
  const timeouts = { firstByte: '400ms', idle: '400ms' }
  proxy = await startProxy({
    config: {
      upstreams: {
        first: { ...common, baseURL: first.url, models: ['two', 'one'] },
        second: { ...common, baseURL: second.url, models: ['two'], priority: 1 },
        hasty: { ...common, timeouts, baseURL: first.url, models: ['hasty'] },
      },
      models: { 'hasty-two': [{ upstream: 'hasty' }, { upstream: 'second', priority: 1 }] },
      retries: { attempts: 3, waitMax: '3s' },
    },
    secrets: { key: 'sk-1' },
  })
})

afterAll(async () => {
  await proxy.close()
  await first.close()
  await second.close()
})

beforeEach(async () => {
  first.reset()
  second.reset()
  await vi.waitFor(async () => {
    const avoided = await proxy.registry.getSingleMetric('bzzz_llm_upstream_avoided')!.get()
    expect(avoided.values.filter(({ value }) => value > 0)).toEqual([])
  }, PATIENCE)
})

const chat = (model: string, more: object = {}) =>
  proxy.call('/chat/completions', post({ model, messages: [], ...more }))

const stream = (model: string) =>
  chat(model, { stream: true, stream_options: { include_usage: true } })

/** What a client sees to the last byte: the text, and whether the connection said it was all. */
async function readAll(answer: Response): Promise<{ text: string; whole: boolean }> {
  let text = ''
  const decoder = new TextDecoder()
  try {
    for await (const chunk of answer.body!) text += decoder.decode(chunk, { stream: true })
    return { text, whole: true }
  } catch {
    return { text, whole: false }
  }
}

describe('llm-proxy: before the first byte', () => {
  const failures: [string, MockAnswer][] = [
    ['429', failure(429)],
    ['429 with Retry-After', failure(429, { 'retry-after': '1' })],
    ['500', failure(500)],
    ['503', failure(503)],
    ['a reset before the head', resetBefore()],
    ['a reset behind the head', resetAfterHead()],
    ['silence', stall()],
    ['a key that is refused', failure(401)],
  ]

  it.each(failures)('asks the next upstream after %s', async (name, fails) => {
    first.next(fails)
    const answer = await chat(name === 'silence' ? 'hasty-two' : 'two')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('bzzz-upstream')).toBe('second')
    expect(first.calls).toHaveLength(1)
    expect(second.calls).toHaveLength(1)
  })

  it.each(failures.slice(0, 6))('asks the only upstream again after %s', async (_name, fails) => {
    first.next(fails)
    const answer = await chat('one')
    expect(answer.status).toBe(200)
    expect(first.calls).toHaveLength(2)
  })

  it('waits for as long as Retry-After says', async () => {
    first.next(failure(429, { 'retry-after': '1' }))
    const askedMs = performance.now()
    expect((await chat('one')).status).toBe(200)
    expect(performance.now() - askedMs).toBeGreaterThanOrEqual(990)
  })

  it('hands on a Retry-After that is too long to be waited for', async () => {
    first.next(failure(429, { 'retry-after': '40' }))
    const answer = await chat('one')
    expect(answer.status).toBe(429)
    expect(answer.headers.get('retry-after')).toBe('40')
    expect(await answer.json()).toMatchObject({ error: { code: 'mock_429' } })
    expect(first.calls).toHaveLength(1)
  })

  it('hands on the last failure as it is, after as many attempts as configured', async () => {
    first.otherwise = failure(503, { 'retry-after': '0' })
    const answer = await chat('one')
    expect(answer.status).toBe(503)
    expect(await answer.json()).toMatchObject({ error: { message: 'mock 503' } })
    expect(first.calls).toHaveLength(3)
  })

  it('answers 502 when nobody can be reached, 504 when nobody speaks', async () => {
    first.otherwise = resetBefore()
    const gone = await chat('one')
    expect(gone.status).toBe(502)
    expect(await gone.json()).toMatchObject({
      error: { code: 'BZZZ_UPSTREAM_UNREACHABLE', type: 'server_error', param: null },
    })
    first.otherwise = stall()
    const silent = await chat('hasty')
    expect(silent.status).toBe(504)
    expect(await silent.json()).toMatchObject({ error: { code: 'BZZZ_UPSTREAM_TIMEOUT' } })
  })

  it('says that the key of the upstream is bad, not the token', async () => {
    first.otherwise = failure(401)
    const answer = await chat('one')
    expect(answer.status).toBe(502)
    expect(await answer.json()).toMatchObject({ error: { code: 'BZZZ_UPSTREAM_REFUSED' } })
    expect(first.calls).toHaveLength(1)
  })

  it('does not repeat what an upstream refuses for good', async () => {
    first.next(failure(400))
    expect((await chat('two')).status).toBe(400)
    expect(first.calls).toHaveLength(1)
    expect(second.calls).toHaveLength(0)
  })
})

describe('llm-proxy: behind the first byte', () => {
  const pieces = chatEvents()
  const begun = pieces.slice(0, 3)
  const half = pieces[3]!.slice(0, 40)

  const breaks: [string, MockAnswer][] = [
    ['a connection that ends between events', resetInside(begun)],
    ['a connection that ends inside an event', resetInside([...begun, half])],
    ['silence', stall(begun)],
    ['a transfer encoding that is none', malformed(begun)],
    ['an end without a length before [DONE]', undelimited(begun)],
  ]

  it.each(breaks)(
    'ends a stream with an error event, never cleanly, after %s',
    async (name, fails) => {
      first.next(fails)
      const answer = await stream(name === 'silence' ? 'hasty' : 'two')
      const { text, whole } = await readAll(answer)
      expect(whole).toBe(false)
      expect(text.startsWith(begun.join(''))).toBe(true)
      const error = /\nevent: error\ndata: (.*)\n\n$/.exec(text)?.[1]
      expect(JSON.parse(error ?? '')).toMatchObject({
        error: { type: 'server_error', code: expect.stringMatching(/^BZZZ_UPSTREAM_/) },
      })
      expect(second.calls).toHaveLength(0)
    },
  )

  it.each(breaks)('raises an error in the SDK after %s', async (name, fails) => {
    first.next(fails)
    const client = proxy.client()
    const chunks: unknown[] = []
    const read = async () => {
      const model = name === 'silence' ? 'hasty' : 'two'
      const asked = { model, messages: [], stream: true as const }
      for await (const chunk of await client.chat.completions.create(asked)) chunks.push(chunk)
    }
    await expect(read()).rejects.toThrow()
    expect(chunks).toHaveLength(2)
  })

  it('cuts an answer in one piece so that it is not whole', async () => {
    first.next((response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 })
      response.write('{"id": 1')
      setTimeout(() => response.socket?.resetAndDestroy(), 50)
    })
    const { whole } = await readAll(await chat('one'))
    expect(whole).toBe(false)
  })

  it('takes an end without a length for whole where the answer says that it is', async () => {
    first.next(undelimited(pieces))
    const { text, whole } = await readAll(await stream('one'))
    expect(whole).toBe(true)
    expect(text).toBe(pieces.join(''))
  })
})

describe('llm-proxy: a caller that leaves', () => {
  it.each([
    ['before an answer', stall()],
    ['in the middle of a stream', stall(chatEvents().slice(0, 3))],
  ])('takes the upstream along %s', async (_name, answer) => {
    first.next(answer)
    const leaving = new AbortController()
    const asked = proxy.call('/chat/completions', {
      ...post({ model: 'one', messages: [], stream: true }),
      signal: leaving.signal,
    })
    asked.catch(() => undefined)
    await vi.waitFor(() => expect(first.calls).toHaveLength(1), PATIENCE)
    if (answer.length > 0) await Promise.race([asked, new Promise((go) => setTimeout(go, 200))])
    expect(first.last.abandoned).toBe(false)
    leaving.abort()
    await vi.waitFor(() => expect(first.last.abandoned).toBe(true), PATIENCE)
    // It is not asked again for somebody who is gone.
    expect(first.calls).toHaveLength(1)
  })
})

describe('llm-proxy: large answers', () => {
  const BYTES = 50 * 1024 * 1024

  it('streams 50 MiB to a caller who takes it', async () => {
    first.next(large(BYTES))
    const answer = await proxy.call('/files/file-1/content')
    let received = 0
    for await (const chunk of answer.body!) received += chunk.length
    expect(received).toBe(BYTES)
    expect(answer.headers.get('content-length')).toBe(String(BYTES))
  })

  it('lets the upstream wait for a caller who does not', async () => {
    let sent = 0
    first.next(async (response, call) => {
      const count = response.write.bind(response)
      response.write = ((chunk: Buffer) => {
        sent += chunk.length
        return count(chunk)
      }) as typeof response.write
      await large(BYTES)(response, call)
    })
    const { hostname, port } = new URL(proxy.baseURL)
    const headers = { authorization: `Bearer ${proxy.token}` }
    const asked = httpRequest({ hostname, port, path: '/v1/files/file-1/content', headers })
    asked.on('error', () => undefined)
    const answer = await new Promise<NodeJS.ReadableStream & { destroy(): void }>((resolve) => {
      asked.on('response', resolve)
      asked.end()
    })
    answer.on('error', () => undefined)
    // What the buffers of three sockets hold is a few MiB; the rest stays where it is.
    await vi.waitFor(() => expect(sent).toBeGreaterThan(0), PATIENCE)
    let before = -1
    await vi.waitFor(
      () => {
        const settled = sent === before
        before = sent
        expect(settled).toBe(true)
      },
      { timeout: 60_000, interval: 300 },
    )
    expect(sent).toBeLessThan(BYTES / 2)
    answer.destroy()
    await vi.waitFor(() => expect(first.last.abandoned).toBe(true), PATIENCE)
  })
})

describe('llm-proxy: requests that are none', () => {
  it.each([
    ['no JSON', '{"model": "one"'],
    ['two values', '{"model":"one"}{}'],
    ['an array', '["one"]'],
    ['no model', '{"messages":[]}'],
    ['a model that is no text', '{"model":7}'],
    ['two models', '{"model":"one","model":"two"}'],
    ['two models, one in escapes', String.raw`{"model":"one","mod\u0065l":"two"}`],
  ])('refuses %s with 400 and asks nobody', async (_name, body) => {
    const answer = await proxy.call('/chat/completions', post(body))
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({
      error: { type: 'invalid_request_error', code: 'BZZZ_REQUEST_INVALID' },
    })
    expect(first.calls).toHaveLength(0)
  })

  it('answers 404 in OpenAI’s shape where there is no route', async () => {
    const answer = await proxy.call('/nothing')
    expect(answer.status).toBe(404)
    expect(await answer.json()).toMatchObject({ error: { type: 'invalid_request_error' } })
  })

  it('leaves the words of the upstream alone', async () => {
    first.next(json({ choices: [], odd: '\u2028 "x" \\u0041' }, 200, { 'x-odd': 'kept' }))
    const answer = await chat('one')
    expect(answer.headers.get('x-odd')).toBe('kept')
    expect(await answer.text()).toBe('{"choices":[],"odd":"\u2028 \\"x\\" \\\\u0041"}')
  })

  it('passes on events as they come', async () => {
    const gate: (() => void)[] = []
    const pause = () => new Promise<void>((resolve) => gate.push(resolve))
    first.next(events(['data: {"a":1}\n\n', 'data: {"b":', '2}\n\n', 'data: [DONE]\n\n'], pause))
    const answer = await stream('one')
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
    for (const piece of ['data: {"a":1}\n\n', 'data: {"b":', '2}\n\n', 'data: [DONE]\n\n']) {
      expect((await reader.read()).value).toBe(piece)
      await vi.waitFor(() => expect(gate.length).toBeGreaterThan(0), PATIENCE)
      gate.shift()!()
    }
    expect((await reader.read()).done).toBe(true)
  })
})
