import { once } from 'node:events'
import { createServer, request as httpRequest, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

import { afterEach, beforeEach, expect, it, vi } from 'vitest'

import type { FunctionProvider } from '../../gateway/providers/provider.ts'

/** Creates a provider, not yet started, that deploys test/gateway/functions/echo. */
export type CreateProvider = () => FunctionProvider

/** What the gateway relies on, whatever runs the functions. */
export function functionProviderSuite(create: CreateProvider): void {
  let provider: FunctionProvider
  let server: Server
  let url: string

  beforeEach(async () => {
    provider = create()
    await provider.start()
    // The least of a gateway: every request goes to the one function.
    server = createServer((request, response) => {
      provider.find('echo', 'openfaas-fn')!.dispatch(request, response)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })

  afterEach(async () => {
    await provider.stop()
    server.closeAllConnections()
    server.close()
  })

  it('lists what is deployed', () => {
    expect(provider.list().map((deployed) => deployed.details())).toEqual([
      expect.objectContaining({
        name: 'echo',
        namespace: 'openfaas-fn',
        image: 'localhost:5000/echo:v1',
        labels: { team: 'blue' },
        annotations: expect.objectContaining({ topic: 'greetings' }) as unknown,
        availableReplicas: 1,
        deployedAt: expect.any(Date) as unknown,
      }),
    ])
  })

  it('finds a function by name and namespace', () => {
    expect(provider.find('echo', 'openfaas-fn')?.details().name).toBe('echo')
    expect(provider.find('echo', 'elsewhere')).toBeUndefined()
    expect(provider.find('nobody', 'openfaas-fn')).toBeUndefined()
  })

  it('hands over method, path, query, headers and body', async () => {
    const answer = await fetch(`${url}/seen/a%2Fb?x=1&x=2`, {
      method: 'PATCH',
      headers: { 'x-own': 'kept', 'content-type': 'application/octet-stream' },
      body: Buffer.alloc(3_000_000),
    })
    expect(await answer.json()).toMatchObject({
      method: 'PATCH',
      url: '/seen/a%2Fb?x=1&x=2',
      headers: { 'x-own': 'kept' },
      sizeBytes: 3_000_000,
    })
  })

  it('streams both ways without waiting for the end of either', async () => {
    const upload = httpRequest(`${url}/mirror`, { method: 'POST' })
    upload.write('first')
    const [answer] = (await once(upload, 'response')) as [AsyncIterable<Buffer>]
    const chunks = answer[Symbol.asyncIterator]()
    // The second chunk is sent only after the first has come back.
    expect(String((await chunks.next()).value)).toBe('first')
    upload.write('second')
    expect(String((await chunks.next()).value)).toBe('second')
    upload.end()
    expect((await chunks.next()).done).toBe(true)
  })

  it.each(['GET', 'POST'])('abandons the work of a %s when its caller leaves', async (method) => {
    const leaving = new AbortController()
    const { signal } = leaving
    const answer = await fetch(`${url}/wait/7`, {
      method,
      signal,
      body: method === 'POST' ? 'x' : null,
    })
    const reader = answer.body!.getReader()
    expect(String(Buffer.from((await reader.read()).value!))).toBe('data: waiting\n\n')
    expect(await (await fetch(`${url}/abandoned`)).json()).toEqual([])
    leaving.abort()
    await vi.waitFor(async () =>
      expect(await (await fetch(`${url}/abandoned`)).json()).toEqual(['7']),
    )
  })

  it('answers a throw with a code and tells nothing of it', async () => {
    const answer = await fetch(`${url}/throw`)
    const text = await answer.text()
    expect(answer.status).toBe(500)
    expect(JSON.parse(text)).toMatchObject({ error: { code: 'BZZZ_INTERNAL' } })
    expect(text).not.toContain('hunter2')
  })

  it('gives the function its own metrics', async () => {
    await (await fetch(`${url}/`)).text()
    const metrics = (await provider.metrics()).flat()
    const requests = metrics.find(({ name }) => name === 'bzzz_function_request_seconds')
    expect(requests?.values).toContainEqual(
      expect.objectContaining({
        labels: { function: 'echo', method: 'GET', route: '/', status: 200 },
        metricName: 'bzzz_function_request_seconds_count',
        value: 1,
      }),
    )
  })

  it('finishes what is in flight when it stops, and then has nothing', async () => {
    const answer = fetch(`${url}/until-drain`)
    await vi.waitFor(async () => expect(await inFlight(provider)).toBe(1))
    await provider.stop()
    expect(await (await answer).json()).toEqual({ done: true })
    expect(provider.list()).toEqual([])
    expect(provider.find('echo', 'openfaas-fn')).toBeUndefined()
  })

  it('starts again after a stop, and takes a second start or stop for the first', async () => {
    await provider.start()
    await provider.stop()
    await provider.stop()
    await provider.start()
    expect((await fetch(url)).status).toBe(200)
  })
}

async function inFlight(provider: FunctionProvider): Promise<number> {
  const metrics = (await provider.metrics()).flat()
  return metrics.find(({ name }) => name === 'bzzz_function_in_flight')?.values[0]?.value ?? 0
}
