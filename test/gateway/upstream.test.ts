import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { serveFunction } from '../../shared/function/serve.ts'
import type { Running } from '../../shared/process/entry.ts'
import { startTestGateway, type TestGateway } from '../helpers/gateway.ts'
import echo from './functions/echo/handler.ts'

/** The gateway in front of a function that a platform runs, as in a Swarm. */
let service: Running
let gateway: TestGateway
beforeAll(async () => {
  const env = {
    OPENFAAS_NAME: 'echo',
    port: '0',
    BZZZ_HOST: '127.0.0.1',
    BZZZ_LOG_LEVEL: 'silent',
    healthcheck_interval: '0',
    drain_timeout: '0',
  }
  service = await serveFunction(echo, { env, signal: new AbortController().signal })
  const url = `http://127.0.0.1:${service.ports['http']}`
  gateway = await startTestGateway({ env: { BZZZ_FUNCTION_URLS: `echo=${url}` } })
})
afterAll(async () => {
  await gateway.stop()
  await service.stop()
})

async function metricsOf(): Promise<string> {
  return (await fetch(`http://127.0.0.1:${gateway.ports['metrics']}/metrics`)).text()
}

describe('gateway before a platform', () => {
  it('calls the function, with the headers that OpenFaaS sets', async () => {
    const answer = await fetch(`${gateway.url}/function/echo.openfaas-fn/seen/a%2Fb?x=1`, {
      method: 'PUT',
      body: 'hello',
    })
    expect(answer.status).toBe(200)
    const seen = (await answer.json()) as { headers: Record<string, string> }
    expect(seen).toMatchObject({ method: 'PUT', url: '/seen/a%2Fb?x=1', sizeBytes: 5 })
    expect(seen.headers['x-call-id']).toBe(answer.headers.get('x-call-id'))
    expect(seen.headers['x-start-time']).toMatch(/^\d{19}$/)
    expect(seen.headers['x-forwarded-host']).toBe(new URL(gateway.url).host)
    expect(seen.headers['x-forwarded-for']).toMatch(/^127\.0\.0\.1:\d+$/)
    expect(answer.headers.get('x-served-by')).toMatch(/^bzzz\//)
  })

  it('lists it to faas-cli, ready as it is', async () => {
    const list = await (await gateway.system('GET', 'functions')).json()
    expect(list).toEqual([expect.objectContaining({ name: 'echo', availableReplicas: 1 })])
    const info = await (await gateway.system('GET', 'info')).json()
    expect(info).toMatchObject({ provider: { orchestration: 'http' } })
  })

  it.each([
    ['PUT', 'functions', { service: 'echo', image: 'registry.example/echo:v1' }],
    ['DELETE', 'functions', { functionName: 'echo' }],
    ['POST', 'scale-function/echo', { replicas: 2 }],
    ['POST', 'secrets', { name: 'a', value: 'b' }],
    ['GET', 'secrets', undefined],
    ['GET', 'logs?name=echo', undefined],
  ])('leaves %s /system/%s to the platform', async (method, path, body) => {
    const answer = await gateway.system(method, path, body)
    expect(answer.status).toBe(501)
    expect(await answer.json()).toMatchObject({ error: { code: 'BZZZ_NOT_SUPPORTED' } })
  })

  it('counts calls, and a caller that left under 499', async () => {
    const leaving = new AbortController()
    const held = fetch(`${gateway.url}/function/echo/until-drain`, { signal: leaving.signal })
    await expect
      .poll(metricsOf, { timeout: 30_000 })
      .toMatch(/gateway_function_invocation_started\{function_name="echo.openfaas-fn"\} [2-9]/)
    leaving.abort()
    await expect(held).rejects.toThrow()
    await expect
      .poll(metricsOf, { timeout: 30_000 })
      .toContain('total{function_name="echo.openfaas-fn",code="499"} 1')
    expect(await metricsOf()).toContain('gateway_service_count{function_name="echo.openfaas-fn"} 1')
  })

  it('does not start for functions that it cannot find', async () => {
    const starting = startTestGateway({ env: { BZZZ_FUNCTION_URLS: 'other=http://x' } })
    await expect(starting).rejects.toMatchObject({ code: 'BZZZ_CONFIG_INVALID' })
  })
})
