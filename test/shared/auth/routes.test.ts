import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { importJWK, SignJWT, UnsecuredJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { ENDPOINTS } from '../../../functions/llm-proxy/endpoints.ts'
import { startGateway } from '../../../gateway/gateway.ts'
import { functionEnv, importHandler } from '../../../gateway/providers/handler.ts'
import { signRevocation } from '../../../shared/auth/revocation.ts'
import { SCOPE_TABLE, SCOPES, type Scope } from '../../../shared/auth/scopes.ts'
import { createToken, createTokenKey, TOKEN_PREFIX } from '../../../shared/auth/token.ts'
import { createFunctionApp } from '../../../shared/function/host.ts'
import { MODEL_PATHS } from '../../../p2p-daemon/models/model-exchange.ts'
import { readStackFile } from '../../../shared/function/stack-file.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { startMemoryDaemon, type MemoryDaemon } from '../../helpers/memory-daemon.ts'
import { collectRoutes, type FoundRoute } from '../../helpers/routes.ts'

/** Everything that may be asked without a token. */
const PUBLIC = [
  'GET /healthz',
  'GET /readyz',
  'GET /_/health',
  'GET /_/ready',
  'GET /metrics',
  // Signed, and nothing in it is secret: see docs/SECURITY.md.
  'GET /v1/revocations',
  // Answers 405: messages come by POST.
  'GET /mcp',
  'DELETE /mcp',
  'PUT /mcp',
  'PATCH /mcp',
  'OPTIONS /mcp',
  // Where a client without a token learns how to get one.
  'GET /.well-known/oauth-protected-resource/mcp',
]

/** Which scope they need depends on the message: test/functions/mcp/matrix.test.ts walks those. */
const ANY_SCOPE = ['mcp POST /mcp']

/** A path of a route that concerns the project apollo, and is refused to a token of another one. */
const OF_A_PROJECT: Readonly<Record<string, string>> = {
  'PUT /v1/addresses': '/v1/addresses?address=bzzz://a@apollo/x',
  'PUT /v1/addresses/batch': '/v1/addresses/batch?address=bzzz://a@apollo/x',
  'GET /v1/addresses': '/v1/addresses?address=bzzz://a@apollo/x',
  'GET /v1/resolve': '/v1/resolve?address=bzzz://a@apollo/x',
  'POST /v1/merges': '/v1/merges?address=bzzz://a@apollo/x',
  'PUT /v1/blobs': '/v1/blobs',
  'POST /v1/blobs/batch': '/v1/blobs/batch',
  'GET /v1/agents': '/v1/agents?project=apollo',
  'GET /v1/agents/:agent': '/v1/agents/a@apollo',
  'PUT /v1/agents/:agent': '/v1/agents/a@apollo',
  'POST /v1/agents/:agent/heartbeat': '/v1/agents/a@apollo/heartbeat',
  'DELETE /v1/agents/:agent': '/v1/agents/a@apollo',
  'GET /v1/events': '/v1/events?project=apollo',
  'GET /v1/threads/thread': '/v1/threads/thread?address=bzzz://a@apollo/x',
  'POST /v1/threads/forks': '/v1/threads/forks?address=bzzz://a@apollo/x',
  'GET /v1/threads/verification': '/v1/threads/verification?address=bzzz://a@apollo/x',
  'POST /v1/threads/messages': '/v1/threads/messages?address=bzzz://a@apollo/x',
  'GET /v1/threads/messages': '/v1/threads/messages?address=bzzz://a@apollo/x',
  'GET /v1/threads/export': '/v1/threads/export?address=bzzz://a@apollo/x',
  'GET /*': '/a@apollo/x',
  'HEAD /*': '/a@apollo/x',
  'PUT /*': '/a@apollo/x',
  ...ofLLMProxy(),
}

/** Every call of a model is somebody's: the header that `ask` sends names the project. */
function ofLLMProxy(): Record<string, string> {
  const entries = ENDPOINTS.map(({ method, path }) => [
    `${method} /v1${path}`,
    `/v1${path.replace(':id', 'x')}`,
  ])
  return Object.fromEntries(entries) as Record<string, string>
}

function shared(why: string): Record<string, string> {
  return Object.fromEntries(MODEL_PATHS.map((path) => [`POST /v1/shared${path}`, why]))
}

/** Why a route that names no project needs none. A new route is put here or above, not left out. */
const WITHOUT_PROJECT: Readonly<Record<string, string>> = {
  'POST /async-function/*': 'the function checks the token once more when it is called',
  'GET /v1/blobs/:hash': 'who knows a hash may read it',
  'HEAD /v1/blobs/:hash': 'who knows a hash may read it',
  'POST /v1/blobs/batch/read': 'who knows a hash may read it',
  'PUT /v1/pins/:hash': 'keeps what one knows the hash of',
  'GET /v1/pins/:hash': 'tells of what one knows the hash of',
  'POST /v1/blobs/retain': 'keeps what one knows the hash of',
  'POST /v1/leases': 'keeps what one knows the hash of',
  'DELETE /v1/leases/:id': 'only who made it knows its id',
  'GET /v1/search': 'shows what the token covers',
  'GET /v1/threads': 'shows what the token covers',
  'GET /v1/threads/search': 'shows what the token covers',
  'POST /v1/threads': 'the body names the project, see test/functions/threads',
  'GET /v1/conflicts': 'shows what the token covers',
  'GET /v1/quotas': 'shows what the token covers',
  'GET /v1/peers': 'nodes belong to no project',
  'GET /v1/status': 'nodes belong to no project',
  'GET /v1/nodes': 'nodes belong to no project',
  'GET /v1/node': 'nodes belong to no project',
  'GET /v1/policy/ownership': 'nodes belong to no project',
  'POST /': 'a job is done under the token that submitted it',
  'GET /v1/usage': 'sums up what the token covers',
  'GET /v1/shared/models': 'names of models belong to no project',
  ...shared('a node shares a model with all; projects are the proxy’s matter'),
  'GET /v1/models': 'names of models belong to no project',
  'GET /v1/models/*': 'names of models belong to no project',
  'GET /:id': 'a job is shown to its owner',
  'DELETE /:id': 'a job is ended by its owner',
}

const log = createSilentLogger()

let folder: string
let daemon: MemoryDaemon
let routes: FoundRoute[]
let closing: (() => Promise<unknown>)[]
let bad: [name: string, token: string][]

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-routes-'))
  const found = await collectRoutes('daemon', () => startMemoryDaemon())
  daemon = found.started
  routes = found.routes
  closing = [() => daemon.close()]
  const env = {
    BZZZ_TOKEN_KEYS_FILE: daemon.tokens.keysFile,
    BZZZ_ENDPOINT: daemon.url,
    BZZZ_LOG_LEVEL: 'silent',
  }
  await addGateway(env)
  await addFunctions(env)
  bad = await makeBadTokens()
})

afterAll(async () => {
  for (const close of closing.toReversed()) await close()
  await rm(folder, { recursive: true })
})

async function addGateway(env: Record<string, string>): Promise<void> {
  const stackFile = join(folder, 'stack.yml')
  await writeFile(stackFile, 'version: 1.0\nprovider:\n  name: openfaas\nfunctions: {}\n')
  const { signal } = new AbortController()
  // On loopback alone it would take asynchronous calls from anybody.
  const ports = {
    BZZZ_ASYNC_ANONYMOUS: 'off',
    BZZZ_GATEWAY_PORT: '0',
    BZZZ_GATEWAY_METRICS_PORT: '0',
  }
  const folders = { BZZZ_GATEWAY_DATA_DIR: join(folder, 'gateway'), BZZZ_STACK_FILE: stackFile }
  const gateway = await collectRoutes('gateway', () =>
    startGateway({ env: { ...env, ...ports, ...folders }, signal, arch: 'x64' }),
  )
  routes.push(...gateway.routes)
  closing.push(() => gateway.started.stop())
}

/** Every function of the stack file of this repository. */
async function addFunctions(env: Record<string, string>): Promise<void> {
  const stackFile = join(import.meta.dirname, '../../../stack.yml')
  const { functions } = await readStackFile(stackFile, env)
  expect(functions.length).toBeGreaterThan(0)
  for (const definition of functions) {
    const plugin = await importHandler(definition)
    const { started, routes: found } = await collectRoutes(definition.name, () =>
      createFunctionApp(plugin, {
        name: definition.name,
        env: functionEnv(env, definition, []),
        secretsDirs: [],
        log,
        registry: new Registry(),
        signal: new AbortController().signal,
        version: 'test',
      }),
    )
    routes.push(...found)
    closing.push(() => started.close())
  }
}

/** Tokens that must open nothing, whatever they say about themselves. */
async function makeBadTokens(): Promise<[string, string][]> {
  const { tokens, url } = daemon
  const { privateKey } = tokens
  const exp = Math.floor(Date.now() / 1000) + 600
  const claims = { iss: 'bzzz', jti: 'x', sub: 'eve', role: 'admin', projects: ['*'], exp }
  const stranger = await createTokenKey()
  const expired = await new SignJWT({ ...claims, exp: exp - 1200 })
    .setProtectedHeader({ alg: 'EdDSA', kid: privateKey.kid! })
    .sign(await importJWK(privateKey, 'EdDSA'))
  const revoked = await tokens.create()
  const statements = [
    await signRevocation(privateKey, { tokenId: tokens.idOf(revoked), expiresMs: exp * 1000 }),
  ]
  const answer = await fetch(`${url}/v1/revocations`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await tokens.create()}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ statements }),
  })
  expect(answer.status).toBe(200)
  return [
    ['none', ''],
    ['alg none', TOKEN_PREFIX + new UnsecuredJWT(claims).encode()],
    [
      'wrong key',
      await createToken(
        { ...stranger.privateKey, kid: privateKey.kid! },
        { subject: 'eve', role: 'admin', lifetimeSeconds: 600 },
      ),
    ],
    ['expired', TOKEN_PREFIX + expired],
    ['revoked', revoked],
  ]
}

const nameOf = ({ method, url }: FoundRoute): string => `${method} ${url}`

const guarded = (): FoundRoute[] => routes.filter(({ config }) => !config.public)

const scoped = (): FoundRoute[] => routes.filter(({ config }) => config.scope)

/** Each from an address of its own, so that no failure counts against another. */
let asked = 0

async function ask(
  { app, method, url }: FoundRoute,
  token: string,
  given: { path?: string; headers?: Record<string, string> } = {},
) {
  asked += 1
  const answer = await app.inject({
    method: method as 'GET',
    url: given.path ?? url.replaceAll(/:\w+/g, 'x').replace('*', 'a@apollo/x'),
    headers: { ...given.headers, ...(token !== '' && { authorization: `Bearer ${token}` }) },
    ...(method !== 'GET' && method !== 'HEAD' && { payload: {} }),
    remoteAddress: `10.${(asked >> 16) & 255}.${(asked >> 8) & 255}.${asked & 255}`,
  })
  const code = answer.payload === '' ? '' : answer.json<{ error?: { code: string } }>().error?.code
  return { status: answer.statusCode, code }
}

/** Scopes but this one. What stands for all of them is left out too, or it would stand for it. */
async function tokenWithout(scope: Scope): Promise<string> {
  const scopes = SCOPES.filter((one) => one !== scope && one !== 'admin:*')
  return daemon.tokens.create({ scopes })
}

describe('every route of the daemon, the gateway and the functions', () => {
  it('is found', () => {
    const parts = new Set(routes.map(({ part }) => part))
    expect([...parts]).toEqual(expect.arrayContaining(['daemon', 'gateway', 'resolve']))
    expect(guarded().length).toBeGreaterThan(30)
  })

  it('names a scope, or is on the list of those that are public', () => {
    const open = routes.filter(({ config }) => config.public || !config.scope)
    const walked = open.filter(({ config }) => !config.anyScope)
    expect(walked.map(nameOf).filter((name) => !PUBLIC.includes(name))).toEqual([])
    const deciding = routes.filter(({ config }) => config.anyScope)
    expect(deciding.map((route) => `${route.part} ${nameOf(route)}`)).toEqual(ANY_SCOPE)
    const several = routes.filter(
      ({ config }) => [config.public, config.scope, config.anyScope].filter(Boolean).length > 1,
    )
    expect(several.map(nameOf)).toEqual([])
  })

  it('refuses a token that is missing, forged, expired or revoked', async () => {
    for (const route of guarded()) {
      for (const [name, token] of bad) {
        const { status } = await ask(route, token)
        expect(status, `${route.part} ${nameOf(route)}: ${name}`).toBe(401)
      }
    }
  })

  it('refuses a token that has every scope but its own', async () => {
    for (const route of scoped()) {
      const { status, code } = await ask(route, await tokenWithout(route.config.scope!))
      const where = `${route.part} ${nameOf(route)}`
      expect(status, where).toBe(403)
      if (route.method !== 'HEAD') expect(code, where).toBe('BZZZ_SCOPE_MISSING')
    }
  })

  it('keeps projects apart, each in a way that is written down here', async () => {
    const other = await daemon.tokens.create({ projects: ['gemini', 'apollo-*', 'apoll'] })
    const undecided: string[] = []
    for (const route of scoped()) {
      const { config } = route
      const name = nameOf(route)
      const path = OF_A_PROJECT[name]
      const every = config.projects === 'every' || SCOPE_TABLE[config.scope!].everyProject === true
      if (!every && path === undefined) {
        if (!(name in WITHOUT_PROJECT)) undecided.push(`${route.part} ${name}`)
        continue
      }
      const headers = { 'bzzz-project': 'apollo' }
      const { status } = await ask(route, other, { headers, ...(path && { path }) })
      expect(status, `${route.part} ${name}`).toBe(403)
    }
    expect(undecided, 'say in this test how they keep projects apart').toEqual([])
  })
})
