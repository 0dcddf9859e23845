import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'

import { buildFunction, startBuilt, type StartedFunction } from './built-function.ts'

let folder: string
let empty: string
const started: StartedFunction[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-contract-'))
  const handler = join(import.meta.dirname, 'functions', 'contract')
  const request = { name: 'contract', lang: 'node24-ts', handler, copy: ['./shared'] }
  empty = (await buildFunction(folder, request)).empty
})

afterEach(async () => {
  for (const { child, exited } of started.splice(0)) {
    child.kill('SIGKILL')
    await exited
  }
})

afterAll(() => rm(folder, { recursive: true }))

async function start(env: Record<string, string> = {}): Promise<StartedFunction> {
  const one = await startBuilt(empty, { OPENFAAS_NAME: 'contract', ...env })
  started.push(one)
  return one
}

const post = (url: string) => fetch(url, { method: 'POST' })

/** OpenFaaS's contract for a workload, kept by what is built from the template. */
describe('node24-ts contract', () => {
  it('serves its handler, health, readiness and metrics, and needs to write nothing', async () => {
    const { url } = await start()
    expect(await (await fetch(url)).json()).toEqual({
      name: 'contract',
      secretsDirs: ['/var/openfaas/secrets', '/run/secrets'],
    })
    for (const path of ['/_/health', '/_/ready', '/metrics']) {
      expect((await fetch(url + path)).status, path).toBe(200)
    }
  })

  it('answers a throw with 500 and a code, where the stock template answers 200', async () => {
    const { url } = await start()
    const answer = await fetch(`${url}/throw`)
    const text = await answer.text()
    expect(answer.status).toBe(500)
    expect(JSON.parse(text)).toMatchObject({ error: { code: 'BZZZ_INTERNAL' } })
    expect(text).not.toContain('hunter2')
  })

  it('streams events as they come, whatever the caller accepts', async () => {
    const { url } = await start()
    const answer = await fetch(`${url}/events`, { headers: { accept: 'application/json' } })
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader.read()).value).toBe('data: 1\n\n')
    await post(`${url}/next`)
    expect((await reader.read()).value).toBe('data: 2\n\n')
    expect((await reader.read()).done).toBe(true)
  })

  it('answers 429 with Retry-After over its limit', async () => {
    const { url } = await start({ max_inflight: '1' })
    const held = fetch(`${url}/gate`)
    await vi.waitFor(
      async () => {
        const answer = await fetch(url)
        expect(answer.status).toBe(429)
        expect(answer.headers.get('retry-after')).toBe('1')
      },
      { timeout: 30_000 },
    )
    expect((await fetch(`${url}/_/health`)).status).toBe(200)
    started.at(-1)!.child.kill('SIGKILL')
    await expect(held).rejects.toThrow()
  })

  it('answers 504 after its time-out, and an error event where a stream has begun', async () => {
    const { url } = await start()
    const late = await fetch(`${url}/late`)
    expect(late.status).toBe(504)
    expect(await late.json()).toMatchObject({ error: { code: 'BZZZ_FUNCTION_TIMEOUT' } })
    const reader = (await fetch(`${url}/late-events`))
      .body!.pipeThrough(new TextDecoderStream())
      .getReader()
    let text = ''
    const readAll = async () => {
      for (;;) text += (await reader.read()).value ?? ''
    }
    await expect(readAll()).rejects.toThrow('terminated')
    expect(text).toMatch(/^data: 1\n\n\nevent: error\ndata: .*"BZZZ_FUNCTION_TIMEOUT".*\n\n$/)
  })

  it('on SIGTERM loses readiness, finishes what is in flight, and exits with 0', async () => {
    const { child, exited, url } = await start({ healthcheck_interval: '3s', drain_timeout: '60s' })
    const held = fetch(`${url}/gate`)
    await vi.waitFor(
      async () =>
        expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/in_flight\{[^}]*\} 1/),
      { timeout: 30_000 },
    )
    child.kill('SIGTERM')
    await vi.waitFor(async () => expect((await fetch(`${url}/_/ready`)).status).toBe(503), {
      timeout: 30_000,
    })
    // Not ready, and not gone: balancers have not noticed yet.
    expect((await post(`${url}/open`)).status).toBe(200)
    expect(await (await held).json()).toEqual({ open: true })
    expect(await exited).toBe(0)
  })

  it('leaves the port to of-watchdog and listens where that looks for it', async () => {
    // The watchdog hands its own environment on, `port` of its own listener included.
    const watchdog = createServer().listen(0, '127.0.0.1')
    await once(watchdog, 'listening')
    const { port } = watchdog.address() as AddressInfo
    const { url, child, exited } = await start({
      mode: 'http',
      fprocess: 'node index.mjs',
      upstream_url: `http://127.0.0.1:0`,
      port: String(port),
    })
    expect(url).not.toBe(`http://127.0.0.1:${port}`)
    expect((await fetch(`${url}/_/ready`)).status).toBe(200)
    child.kill('SIGTERM')
    expect(await exited).toBe(0)
    watchdog.close()
  })
})
