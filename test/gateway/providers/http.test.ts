import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

import { afterEach, describe, expect, it, vi } from 'vitest'

import { HTTPProvider, type HTTPProviderInit } from '../../../gateway/providers/http.ts'
import type { FunctionPlugin } from '../../../shared/function/function.ts'
import { createFunctionApp } from '../../../shared/function/host.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { functionProviderSuite } from '../../suites/function-provider.ts'
import echo from '../functions/echo/handler.ts'
import { ECHO } from '../stack.ts'

/** Ends a hang. */
const PATIENCE = { timeout: 30_000 }

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

function create(origin: string, init: Partial<HTTPProviderInit> = {}): HTTPProvider {
  const provider = new HTTPProvider(
    { log: createSilentLogger() },
    {
      functions: [ECHO],
      origins: new Map([['echo', origin]]),
      drainTimeoutMs: 2000,
      timeoutMs: 60_000,
      ...init,
    },
  )
  closing.push(() => provider.stop())
  return provider
}

/** The function as a platform runs it: alone, behind a port. */
async function serveFunction(plugin: FunctionPlugin) {
  const registry = new Registry()
  registry.setDefaultLabels({ function: 'echo' })
  const stopping = new AbortController()
  const app = await createFunctionApp(plugin, {
    name: 'echo',
    env: {},
    secretsDirs: [],
    log: createSilentLogger(),
    registry,
    signal: stopping.signal,
    version: 'test',
  })
  closing.push(() => app.close())
  const origin = await app.listen({ host: '127.0.0.1', port: 0 })
  return { origin, registry, stopping }
}

/** Something that speaks HTTP as badly as the test wants. */
async function serveBadly(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  closing.push(async () => close(server))
  await once(server, 'listening')
  return originOf(server)
}

/** A caller's way in: every request goes to the one function. */
async function front(provider: HTTPProvider): Promise<string> {
  const server = createServer((request, response) => {
    provider.find('echo', 'openfaas-fn')!.dispatch(request, response)
  }).listen(0, '127.0.0.1')
  closing.push(async () => close(server))
  await once(server, 'listening')
  return originOf(server)
}

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function close(server: Server): void {
  server.closeAllConnections()
  server.close()
}

describe('http-provider', () => {
  functionProviderSuite(async () => {
    const { origin, registry, stopping } = await serveFunction(echo)
    return {
      provider: create(origin),
      metrics: () => registry.getMetricsAsJSON(),
      drain: () => stopping.abort(),
    }
  })

  it('tells what the stack file says, and no replica where nothing answers', async () => {
    const provider = create('http://127.0.0.1:9')
    await provider.start()
    const details = provider.find('echo', 'openfaas-fn')!.details()
    expect(details).toMatchObject({ image: ECHO.image, availableReplicas: 0 })
    expect(provider.ports()).toEqual({})
    expect(await provider.metrics()).toEqual([])
  })

  it('answers 502 with a code when the function is not there', async () => {
    const provider = create('http://127.0.0.1:9')
    await provider.start()
    const url = await front(provider)
    for (const method of ['GET', 'POST']) {
      const body = method === 'POST' ? 'x'.repeat(200_000) : null
      const answer = await fetch(url, { method, body })
      expect(answer.status).toBe(502)
      expect(await answer.json()).toMatchObject({ error: { code: 'BZZZ_FUNCTION_UNREACHABLE' } })
    }
  })

  it('answers 502 when the function hangs up before it answers', async () => {
    const provider = create(await serveBadly((request) => void request.socket.destroy()))
    await provider.start()
    expect((await fetch(await front(provider), { method: 'POST', body: 'x' })).status).toBe(502)
  })

  it('answers 504 when the head of the answer does not come in time', async () => {
    const origin = await serveBadly((request, response) => {
      if (request.url === '/_/ready') response.end()
    })
    // The clock of the client ticks every half second.
    const provider = create(origin, { timeoutMs: 10 })
    await provider.start()
    const answer = await fetch(await front(provider))
    expect(answer.status).toBe(504)
    expect(await answer.json()).toMatchObject({ error: { code: 'BZZZ_FUNCTION_TIMEOUT' } })
  })

  it('keeps headers of its own connections to itself', async () => {
    const seen: Record<string, unknown>[] = []
    const origin = await serveBadly((request, response) => {
      seen.push({ ...request.headers })
      response.writeHead(200, { connection: 'close, x-private', 'x-private': '1', 'x-own': '2' })
      response.end('x')
    })
    const provider = create(origin)
    await provider.start()
    const url = await front(provider)
    seen.length = 0
    const answer = await fetch(url, { method: 'POST', body: 'abc', headers: { 'x-own': '3' } })
    expect(answer.headers.get('x-private')).toBeNull()
    expect(answer.headers.get('x-own')).toBe('2')
    expect(seen).toEqual([expect.objectContaining({ 'x-own': '3', 'content-length': '3' })])
    expect(seen[0]).toMatchObject({ host: new URL(origin).host })
  })

  it('cuts what does not end in time when it stops', async () => {
    const { origin } = await serveFunction(echo)
    const provider = create(origin, { drainTimeoutMs: 20 })
    await provider.start()
    const url = await front(provider)
    const answer = await fetch(`${url}/wait/1`)
    const waiting = fetch(`${url}/until-drain`)
    await vi.waitFor(async () => {
      const text = await (await fetch(`${origin}/metrics`)).text()
      expect(text).toContain('bzzz_function_in_flight{function="echo"} 2')
    }, PATIENCE)
    await provider.stop()
    await expect(answer.text()).rejects.toThrow('terminated')
    expect((await waiting).status).toBe(503)
  })
})
