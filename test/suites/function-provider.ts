import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

import type { MetricObjectWithValues, MetricValue } from 'prom-client'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'

import type { FunctionProvider } from '../../gateway/providers/provider.ts'

/** Ends a hang: what is waited for comes within milliseconds, on a busy machine within seconds. */
const PATIENCE = { timeout: 30_000 }

/** A provider, not yet started, that serves test/gateway/functions/echo. */
export interface ProviderUnderTest {
  provider: FunctionProvider
  /** The metrics of the function, wherever it runs. */
  metrics(): Promise<readonly MetricObjectWithValues<MetricValue<string>>[]>
  /** Tells the function to drain, where stopping the provider does not. */
  drain(): void
}

/** What the gateway relies on, whatever runs the functions. */
export function functionProviderSuite(create: () => Promise<ProviderUnderTest>): void {
  let subject: ProviderUnderTest
  let provider: FunctionProvider
  let server: Server
  let url: string

  beforeEach(async () => {
    subject = await create()
    provider = subject.provider
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
    await vi.waitFor(
      async () => expect(await (await fetch(`${url}/abandoned`)).json()).toEqual(['7']),
      PATIENCE,
    )
  })

  it('passes on an answer that breaks off as one that is not whole', async () => {
    const answer = await fetch(`${url}/break-off`)
    expect(answer.status).toBe(200)
    await expect(answer.text()).rejects.toThrow('terminated')
  })

  it('hands back status, headers and several cookies', async () => {
    const answer = await fetch(`${url}/answer`)
    expect(answer.status).toBe(418)
    expect(answer.headers.get('x-own')).toBe('kept')
    expect(answer.headers.getSetCookie()).toEqual(['a=1', 'b=2'])
    expect(await answer.text()).toBe('short')
    const head = await fetch(`${url}/answer`, { method: 'HEAD' })
    expect([head.status, await head.text()]).toEqual([418, ''])
    expect((await fetch(`${url}/empty`)).status).toBe(204)
  })

  it('hands back an answer that came before the upload was read', async () => {
    const upload = httpRequest(`${url}/early`, { method: 'POST' })
    upload.on('error', () => undefined)
    upload.write(Buffer.alloc(100_000))
    const [answer] = (await once(upload, 'response')) as [IncomingMessage]
    expect(answer.statusCode).toBe(413)
    let text = ''
    for await (const chunk of answer) text += String(chunk)
    expect(JSON.parse(text)).toMatchObject({ error: { code: 'BZZZ_BODY_TOO_LARGE' } })
    upload.destroy()
  })

  it('reads no faster than the caller takes, either way', async () => {
    const answer = await fetch(`${url}/flood`)
    const reader = answer.body!.getReader()
    await reader.read()
    // The function writes as fast as it may: it stands still once the buffers between are full.
    const written = async () =>
      ((await (await fetch(`${url}/flooded`)).json()) as { bytes: number }).bytes
    let before = -1
    await vi.waitFor(async () => {
      const now = await written()
      const still = now === before
      before = now
      expect(still).toBe(true)
    }, PATIENCE)
    expect(before).toBeLessThan(64_000_000)
    await reader.cancel()
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
    const metrics = await subject.metrics()
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
    await vi.waitFor(async () => expect(await inFlight(subject)).toBe(1), PATIENCE)
    const stopped = provider.stop()
    subject.drain()
    await stopped
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

async function inFlight(subject: ProviderUnderTest): Promise<number> {
  const metrics = await subject.metrics()
  return metrics.find(({ name }) => name === 'bzzz_function_in_flight')?.values[0]?.value ?? 0
}
