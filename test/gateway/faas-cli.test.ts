import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { startTestGateway, type TestGateway } from '../helpers/gateway.ts'

/**
 * The requests that faas-cli 0.18.12 was seen to send, and what it needs of the answers: statuses
 * it takes for a success, and fields that Go can decode. The program itself is not run here.
 */
let gateway: TestGateway
let authorization: string
beforeAll(async () => {
  gateway = await startTestGateway()
  authorization = `Basic ${Buffer.from(`admin:${gateway.token}`).toString('base64')}`
})
afterAll(() => gateway.stop())

function cli(method: string, path: string, body?: object): Promise<Response> {
  return fetch(gateway.url + path, {
    method,
    headers: { authorization, 'user-agent': 'faas-cli/0.18.12' },
    body: body ? Buffer.from(JSON.stringify(body)) : null,
  })
}

const DEPLOYMENT = {
  service: 'greeter',
  image: 'registry.example/echo:v1',
  namespace: '',
  envProcess: 'node index.mjs',
  envVars: { GREETING: 'hi' },
  constraints: null,
  secrets: ['greeting-key'],
  labels: {},
  annotations: {},
  limits: null,
  requests: null,
  readOnlyRootFilesystem: true,
}

/** RFC 3339 as Go's time.Time reads it out of JSON. */
const GO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/

describe('faas-cli', () => {
  it('login: GET /system/functions with basic authentication is 200', async () => {
    expect((await cli('GET', '/system/functions')).status).toBe(200)
  })

  it('secret create, with --replace when it exists, update, list', async () => {
    const secret = { name: 'greeting-key', namespace: '', value: 'one' }
    expect((await cli('POST', '/system/secrets', secret)).status).toBe(201)
    expect((await cli('POST', '/system/secrets', secret)).status).toBe(409)
    expect((await cli('PUT', '/system/secrets', { ...secret, value: 'two' })).status).toBe(200)
    const list = await cli('GET', '/system/secrets?namespace=')
    expect(await list.json()).toEqual([{ name: 'greeting-key', namespace: 'openfaas-fn' }])
  })

  it('deploy: PUT, 404, then POST; 202 and no 201', async () => {
    expect((await cli('PUT', '/system/functions', DEPLOYMENT)).status).toBe(404)
    expect((await cli('POST', '/system/functions', DEPLOYMENT)).status).toBe(202)
    expect((await cli('PUT', '/system/functions', DEPLOYMENT)).status).toBe(202)
  })

  it('list and describe: every field in a type that Go decodes', async () => {
    const list = (await (await cli('GET', '/system/functions?namespace=')).json()) as object[]
    const described = await cli('GET', '/system/function/greeter?usage=1&namespace=')
    const status = (await described.json()) as Record<string, unknown>
    expect(list).toContainEqual(status)
    expect(status).toEqual({
      name: 'greeter',
      namespace: 'openfaas-fn',
      image: 'registry.example/echo:v1',
      envProcess: 'node index.mjs',
      envVars: { GREETING: 'hi' },
      constraints: [],
      secrets: ['greeting-key'],
      labels: {},
      annotations: {},
      readOnlyRootFilesystem: true,
      invocationCount: 0,
      replicas: 1,
      availableReplicas: 1,
      createdAt: expect.stringMatching(GO_TIME) as unknown,
    })
  })

  it('ready: GET /healthz is 200, and availableReplicas is above 0', async () => {
    expect((await fetch(`${gateway.url}/healthz`)).status).toBe(200)
  })

  it('invoke: a POST as text to NAME.openfaas-fn, without authentication', async () => {
    const answer = await fetch(`${gateway.url}/function/greeter.openfaas-fn/seen/x?verbose=1`, {
      method: 'POST',
      headers: { 'content-type': 'text/plain' },
      body: 'hello',
    })
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ url: '/seen/x?verbose=1', sizeBytes: 5 })
  })

  it('logs: 200 and NDJSON for the whole tail', async () => {
    const answer = await cli('GET', '/system/logs?follow=false&name=greeter&tail=-1')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('application/x-ndjson')
  })

  it('version: no version is null', async () => {
    const info = (await (await cli('GET', '/system/info')).json()) as Record<string, unknown>
    const version = { release: expect.any(String) as unknown, sha: expect.any(String) as unknown }
    expect(info).toMatchObject({
      provider: { provider: 'bzzz', orchestration: expect.any(String) as unknown, version },
      version,
      arch: 'x86_64',
    })
  })

  it('namespaces: the one there is', async () => {
    expect(await (await cli('GET', '/system/namespaces')).json()).toEqual(['openfaas-fn'])
    expect((await cli('GET', '/system/namespace/other')).status).toBe(501)
  })

  it('remove of a function and of a secret: 202 and no 204', async () => {
    const removal = { functionName: 'greeter', namespace: '' }
    expect((await cli('DELETE', '/system/functions', removal)).status).toBe(202)
    const secret = { name: 'greeting-key', namespace: '' }
    expect((await cli('DELETE', '/system/secrets', secret)).status).toBe(202)
  })

  it.each([
    ['GET', 'functions'],
    ['POST', 'functions'],
    ['PUT', 'functions'],
    ['DELETE', 'functions'],
    ['GET', 'function/echo'],
    ['POST', 'scale-function/echo'],
    ['GET', 'info'],
    ['GET', 'namespaces'],
    ['GET', 'namespace/openfaas-fn'],
    ['GET', 'secrets'],
    ['POST', 'secrets'],
    ['PUT', 'secrets'],
    ['DELETE', 'secrets'],
    ['GET', 'logs?name=echo'],
  ])(
    'not logged in: %s /system/%s is 401, and 403 to whoever is no administrator',
    async (...at) => {
      const [method, path] = at
      const body = method === 'GET' ? null : Buffer.from('{}')
      const url = `${gateway.url}/system/${path}`
      // What it sends without a login is an empty bearer token.
      const strange = await fetch(url, { method, body, headers: { authorization: 'Bearer ' } })
      expect(strange.status).toBe(401)
      expect(strange.headers.get('www-authenticate')).toContain('Basic realm="Restricted"')
      const agent = await gateway.tokens.create({ role: 'operator' })
      const forbidden = await fetch(url, {
        method,
        body,
        headers: { authorization: `Bearer ${agent}` },
      })
      expect(forbidden.status).toBe(403)
    },
  )
})
