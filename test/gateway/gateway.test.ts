import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { startGateway } from '../../gateway/gateway.ts'
import type { Role } from '../../shared/auth/scopes.ts'
import { createToken, createTokenKey } from '../../shared/auth/token.ts'
import type { Running } from '../../shared/process/entry.ts'
import { VERSION } from '../../shared/version.ts'

const STACK = `
version: 1.0
provider:
  name: openfaas
functions:
  echo:
    lang: node24-ts
    handler: ${join(import.meta.dirname, 'functions', 'echo')}
    image: \${REGISTRY:-localhost:5000}/echo:v1
    readonly_root_filesystem: true
    limits:
      memory: 64Mi
    labels:
      team: blue
    annotations:
      bzzz.port: "0"
      topic: greetings
    environment:
      GREETING: \${GREETING:-hello}
      BZZZ_ENDPOINT: \${BZZZ_ENDPOINT:-http://bzzz-agent:9000}
    secrets:
      - greeting-key
`

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

let folder: string
let tokens: Record<'admin' | 'viewer', string>
let env: Record<string, string>
let gateway: Running
let url: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-gateway-'))
  const key = await createTokenKey()
  const issue = (role: Role) =>
    createToken(key.privateKey, { subject: 'ada', role, lifetimeSeconds: 600 })
  tokens = { admin: await issue('admin'), viewer: await issue('viewer') }
  await writeFile(join(folder, 'token-keys.json'), JSON.stringify(key.publicKeys))
  await writeFile(join(folder, 'stack.yml'), STACK)
  env = {
    BZZZ_GATEWAY_PORT: '0',
    BZZZ_GATEWAY_METRICS_PORT: '0',
    BZZZ_STACK_FILE: join(folder, 'stack.yml'),
    BZZZ_TOKEN_KEYS_FILE: join(folder, 'token-keys.json'),
    BZZZ_LOG_LEVEL: 'silent',
  }
})

afterAll(() => rm(folder, { recursive: true }))

beforeEach(async () => {
  gateway = await start()
  url = `http://127.0.0.1:${gateway.ports['gateway']}`
})

afterEach(() => gateway.stop())

function start(more: Record<string, string> = {}): Promise<Running> {
  const { signal } = new AbortController()
  return startGateway({ env: { ...env, ...more }, signal, arch: 'x64' })
}

function system(path: string, authorization?: string): Promise<Response> {
  return fetch(`${url}${path}`, { headers: authorization ? { authorization } : {} })
}

const basic = (user: string, password: string) =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`

interface Seen {
  method: string
  url: string
  headers: Record<string, string>
}

describe('gateway functions', () => {
  it.each([
    ['/function/echo', { root: true }],
    ['/function/echo/', { root: true }],
    ['/function/echo?x=1', { root: true }],
    ['/function/echo.openfaas-fn', { root: true }],
    ['/function/echo/seen/a%2Fb?x=1&y=/function/z', { url: '/seen/a%2Fb?x=1&y=/function/z' }],
    ['/function/echo.openfaas-fn/seen//', { url: '/seen//' }],
  ])('passes %s on without its prefix', async (path, expected) => {
    const answer = await fetch(url + path)
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject(expected)
  })

  it.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])(
    'passes %s on',
    async (method) => {
      const answer = await fetch(`${url}/function/echo/seen/x`, { method })
      expect(answer.status).toBe(200)
      const text = await answer.text()
      if (method !== 'HEAD') expect(JSON.parse(text)).toMatchObject({ method })
    },
  )

  it.each([
    '/function/nobody/x',
    '/function/echo.elsewhere/x',
    '/function/',
    '/function/echo%2Fx',
    '/function/../system/functions',
  ])('answers %s with 404', async (path) => {
    const answer = await raw(path)
    expect(answer.statusCode).toBe(404)
    expect(JSON.parse(await textOf(answer))).toMatchObject({
      error: { code: 'BZZZ_FUNCTION_NOT_FOUND' },
    })
  })

  it('tells the function who called, and when', async () => {
    const answer = await fetch(`${url}/function/echo/seen/x`)
    const { headers } = (await answer.json()) as Seen
    expect(headers['x-call-id']).toMatch(UUID)
    expect(answer.headers.get('x-call-id')).toBe(headers['x-call-id'])
    expect(headers['x-start-time']).toMatch(/^\d{19}$/)
    expect(answer.headers.get('x-start-time')).toBe(headers['x-start-time'])
    expect(headers['x-forwarded-host']).toBe(new URL(url).host)
    expect(headers['x-forwarded-for']).toMatch(/^127\.0\.0\.1:\d+$/)
    expect(answer.headers.get('x-served-by')).toBe(`bzzz/${VERSION}`)
  })

  it('keeps what an earlier hop has said', async () => {
    const given = {
      'x-call-id': 'call-7',
      'x-forwarded-host': 'bzzz.example',
      'x-forwarded-for': '10.0.0.9:1234',
      authorization: 'Bearer own',
    }
    const answer = await fetch(`${url}/function/echo/seen/x`, { headers: given })
    expect(((await answer.json()) as Seen).headers).toMatchObject(given)
    expect(answer.headers.has('x-call-id')).toBe(false)
  })

  it('keeps headers of the connection to itself', async () => {
    const answer = await raw('/function/echo/seen/x', {
      connection: 'close, X-Private',
      'x-private': 'secret',
      te: 'trailers',
      'proxy-authorization': 'Basic eA==',
      'x-public': 'yes',
    })
    const { headers } = JSON.parse(await textOf(answer)) as Seen
    expect(headers).toMatchObject({ 'x-public': 'yes' })
    for (const name of ['connection', 'x-private', 'te', 'proxy-authorization']) {
      expect(headers).not.toHaveProperty(name)
    }
  })

  it('hands over an upload that does not tell its length', async () => {
    const upload = httpRequest(`${url}/function/echo/seen/x`, { method: 'PUT' })
    upload.write('one')
    upload.end('two')
    const [answer] = (await once(upload, 'response')) as [IncomingMessage]
    expect(JSON.parse(await textOf(answer))).toMatchObject({ sizeBytes: 6 })
  })

  it('counts a caller that left under 499', async () => {
    const leaving = new AbortController()
    const answer = fetch(`${url}/function/echo/until-drain`, { signal: leaving.signal })
    await waitForMetric('gateway_function_invocation_started{function_name="echo.openfaas-fn"} 1')
    leaving.abort()
    await expect(answer).rejects.toThrow()
    await waitForMetric('{function_name="echo.openfaas-fn",code="499"} 1')
  })

  it('fills in the stack file from its environment, with its own defaults', async () => {
    const valueOf = async (name: string) =>
      ((await (await fetch(`${url}/function/echo/env/${name}`)).json()) as { value: string }).value
    expect(await valueOf('GREETING')).toBe('hello')
    expect(await valueOf('BZZZ_ENDPOINT')).toBe('http://127.0.0.1:9000')
  })

  it('serves the function at the root of its own port', async () => {
    const answer = await fetch(`http://127.0.0.1:${gateway.ports['echo']}/seen/x`)
    expect(await answer.json()).toMatchObject({ url: '/seen/x' })
  })

  it('answers what is no HTTP with 400', async () => {
    const socket = connect(gateway.ports['gateway']!, '127.0.0.1')
    socket.end('GET /function/echo HTTP/9.9 nonsense\r\n\r\n')
    expect(await textOf(socket)).toMatch(/^HTTP\/1\.1 400 /)
  })
})

describe('gateway system', () => {
  it.each(['bearer', 'basic'])('lists the functions to an admin by %s', async (kind) => {
    const { admin } = tokens
    const answer = await system(
      '/system/functions',
      kind === 'bearer' ? `Bearer ${admin}` : basic('admin', admin),
    )
    expect(answer.status).toBe(200)
    const [status, ...others] = (await answer.json()) as { createdAt: string }[]
    expect(others).toEqual([])
    expect(status).toMatchObject({
      name: 'echo',
      namespace: 'openfaas-fn',
      image: 'localhost:5000/echo:v1',
      envProcess: '',
      envVars: { GREETING: 'hello' },
      constraints: [],
      secrets: ['greeting-key'],
      labels: { team: 'blue' },
      annotations: { topic: 'greetings' },
      limits: { memory: '64Mi' },
      readOnlyRootFilesystem: true,
      invocationCount: 0,
      replicas: 1,
      availableReplicas: 1,
    })
    expect(new Date(status!.createdAt).toISOString()).toBe(status!.createdAt)
  })

  it('describes one function and counts its calls', async () => {
    const authorization = `Bearer ${tokens.admin}`
    await (await fetch(`${url}/function/echo`)).text()
    await waitForMetric('{function_name="echo.openfaas-fn",code="200"} 1')
    const answer = await system('/system/function/echo?namespace=openfaas-fn', authorization)
    expect(await answer.json()).toMatchObject({ name: 'echo', invocationCount: 1 })
    for (const path of ['nobody', 'echo?namespace=elsewhere', 'echo.elsewhere']) {
      const missing = await system(`/system/function/${path}`, authorization)
      expect(missing.status, path).toBe(404)
      expect(await missing.json()).toMatchObject({ error: { code: 'BZZZ_FUNCTION_NOT_FOUND' } })
    }
    const elsewhere = await system('/system/functions?namespace=elsewhere', authorization)
    expect(await elsewhere.json()).toEqual([])
  })

  it('tells its versions', async () => {
    const answer = await system('/system/info', basic('admin', tokens.admin))
    expect(await answer.json()).toEqual({
      provider: {
        provider: 'bzzz',
        orchestration: 'in-process',
        version: { release: VERSION, sha: expect.any(String) as unknown },
      },
      version: { release: VERSION, sha: expect.any(String) as unknown },
      arch: 'x86_64',
    })
  })

  it.each(['/system/functions', '/system/function/echo', '/system/info'])(
    'refuses %s to everybody else',
    async (path) => {
      const strangers = [
        undefined,
        'Bearer nonsense',
        basic('admin', 'admin'),
        basic('nobod', tokens.admin),
        `Basic ${tokens.admin}`,
      ]
      for (const authorization of strangers) {
        const answer = await system(path, authorization)
        expect(answer.status, authorization).toBe(401)
        expect(answer.headers.get('www-authenticate')).toContain('Basic realm="Restricted"')
      }
      expect((await system(path, `Bearer ${tokens.viewer}`)).status).toBe(403)
      expect((await system(path, basic('admin', tokens.viewer))).status).toBe(403)
    },
  )

  it.each(['/nothing', '/system/nothing', '/async-function/echo', '/metrics'])(
    'has no %s',
    async (path) => {
      const answer = await system(path, `Bearer ${tokens.admin}`)
      expect(answer.status).toBe(404)
      expect(await answer.json()).toMatchObject({ error: { code: 'BZZZ_ROUTE_NOT_FOUND' } })
    },
  )

  it('tells strangers that it lives and is ready, and no more', async () => {
    expect(await (await system('/healthz')).json()).toEqual({ alive: true })
    expect(await (await system('/readyz')).json()).toEqual({ ready: true, functions: 1 })
  })
})

describe('gateway metrics', () => {
  it('uses the names of OpenFaaS and adds those of the functions', async () => {
    await (await fetch(`${url}/function/echo`)).text()
    await (await fetch(`${url}/function/nobody`)).text()
    await waitForMetric('gateway_functions_seconds_count{function_name="echo.openfaas-fn"')
    const text = await metricsOf()
    for (const line of [
      'gateway_function_invocation_total{function_name="echo.openfaas-fn",code="200"} 1',
      'gateway_function_invocation_started{function_name="echo.openfaas-fn"} 1',
      'gateway_functions_seconds_count{function_name="echo.openfaas-fn",code="200"} 1',
      'gateway_service_count{function_name="echo.openfaas-fn"} 1',
      'bzzz_gateway_unknown_function_total 1',
      'bzzz_function_request_seconds_count{method="GET",route="/",status="200",function="echo"} 1',
      `bzzz_build_info{component="gateway",version="${VERSION}",node="${process.version}"} 1`,
    ]) {
      expect(text).toContain(line)
    }
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)
    expect(new Set(names).size).toBe(names.length)
  })
})

describe('gateway life', () => {
  it('finishes a call that is in flight when it stops', async () => {
    const answer = fetch(`${url}/function/echo/until-drain`)
    await waitForMetric('gateway_function_invocation_started{function_name="echo.openfaas-fn"} 1')
    await gateway.stop()
    expect(await (await answer).json()).toEqual({ done: true })
    await expect(fetch(url)).rejects.toThrow()
  })

  it('cuts what does not end in time, so that it does not look whole', async () => {
    const impatient = await start({ BZZZ_STOP_TIMEOUT: '20ms' })
    const answer = await fetch(
      `http://127.0.0.1:${impatient.ports['gateway']}/function/echo/wait/1`,
    )
    await impatient.stop()
    await expect(answer.text()).rejects.toThrow('terminated')
  })

  it.each(['BZZZ_GATEWAY_PORT', 'BZZZ_GATEWAY_METRICS_PORT'])(
    'names %s when its port is taken, and leaves nothing open',
    async (variable) => {
      const holder = createServer().listen(0, '127.0.0.1')
      await once(holder, 'listening')
      const { port } = holder.address() as AddressInfo
      await expect(start({ [variable]: String(port) })).rejects.toMatchObject({
        code: 'BZZZ_PORT_IN_USE',
        message: expect.stringContaining(`set ${variable}.`) as unknown,
      })
      holder.close()
    },
  )

  it('reports every mistake in its configuration at once', async () => {
    const starting = start({ BZZZ_GATEWAY_PORT: 'many', BZZZ_TOKEN_KEYS_FILE: '' })
    await expect(starting).rejects.toThrow(/BZZZ_GATEWAY_PORT: .*\n.*BZZZ_TOKEN_KEYS_FILE: /)
  })
})

async function metricsOf(): Promise<string> {
  return (await fetch(`http://127.0.0.1:${gateway.ports['metrics']}/metrics`)).text()
}

async function waitForMetric(line: string): Promise<void> {
  await expect.poll(metricsOf, { timeout: 5000 }).toContain(line)
}

/** As it is written: fetch would resolve dots and refuse headers of the connection. */
async function raw(path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const port = gateway.ports['gateway']!
  const call = httpRequest({ host: '127.0.0.1', port, path, headers })
  call.end()
  const [answer] = (await once(call, 'response')) as [IncomingMessage]
  return answer
}

async function textOf(stream: AsyncIterable<Buffer>): Promise<string> {
  let text = ''
  for await (const chunk of stream) text += chunk.toString()
  return text
}
