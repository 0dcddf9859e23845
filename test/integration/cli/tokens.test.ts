import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { FastifyInstance } from 'fastify'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'

import { runCli } from '../../../cli/cli.ts'
import { layoutOf, type DataLayout } from '../../../cli/up/data-layout.ts'
import { ensureAdminToken } from '../../../cli/up/admin-token.ts'
import { composeRevocations } from '../../../p2p-daemon/access/compose.ts'
import { revocationRoutes } from '../../../p2p-daemon/http/revocations.ts'
import { registerAccess } from '../../../shared/auth/access.ts'
import { createKeyFileVerifier } from '../../../shared/auth/key-file.ts'
import { authPlugin } from '../../../shared/auth/plugin.ts'
import { forgetExpiredTokens } from '../../../shared/auth/token-registry.ts'
import type { OpenDatabase } from '../../../shared/db/database.ts'
import { createFunctionApp } from '../../../shared/function/host.ts'
import { createService } from '../../../shared/http/service.ts'
import { startAll, stopAll } from '../../../shared/lifecycle.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { createCommandHost } from '../../helpers/command-host.ts'
import { MemoryNetwork } from '../../helpers/memory-mesh.ts'
import { until } from '../../helpers/mesh.ts'
import { startTestPostgres, type TestPostgres } from '../../helpers/postgres.ts'

const NOBODY = 'http://127.0.0.1:1'
const NO_DATABASE = 'postgres://bzzz@127.0.0.1:1/none'

const log = createSilentLogger()

let postgres: TestPostgres
let database: OpenDatabase & { url: string }
let layout: DataLayout
let open: (() => Promise<void>)[]

beforeAll(async () => {
  postgres = await startTestPostgres()
})

afterAll(() => postgres.stop())

beforeEach(async () => {
  database = await postgres.openMigrated()
  layout = layoutOf(await mkdtemp(join(tmpdir(), 'bzzz-tokens-')))
  await mkdir(layout.config)
  await ensureAdminToken(layout)
  open = []
})

afterEach(async () => {
  for (const close of open.toReversed()) await close()
  await rm(layout.root, { recursive: true })
})

/** Runs `bzzz` and returns what it said. */
async function bzzz(args: readonly string[], env: Record<string, string> = {}) {
  const { host, stdout, stderr } = createCommandHost({
    BZZZ_DATA: layout.root,
    BZZZ_ENDPOINT: NOBODY,
    DATABASE_URL: database.url,
    USER: 'ada',
    ...env,
  })
  const code = await runCli(args, host)
  return { code, stdout: stdout.text(), stderr: stderr.text() }
}

async function create(...more: string[]): Promise<string> {
  const { stdout, stderr, code } = await bzzz(['token', 'create', '--subject', 'scout', ...more])
  expect({ stderr, code }).toEqual({ stderr: '', code: 0 })
  return stdout.trim()
}

async function idOf(token: string): Promise<string> {
  const { stdout } = await bzzz(['token', 'inspect', token, '--json'])
  return (JSON.parse(stdout) as { jti: string }).jti
}

/** The part of a node that is about revocations, on a port of its own. */
async function startNode(): Promise<string> {
  const mesh = new MemoryNetwork().join('walnut')
  const { store, spread, parts } = composeRevocations(
    { mesh, log },
    { file: join(layout.root, 'revocations.json'), tokenKeysFile: layout.tokenPublicKeys },
  )
  const app = createService({ log, registry: new Registry() })
  await app.register(authPlugin, { verify: await createKeyFileVerifier(layout.tokenPublicKeys) })
  await app.register(revocationRoutes, { revocations: store, revocationSpread: spread })
  await startAll(parts)
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  open.push(async () => {
    await app.close()
    await stopAll(parts)
  })
  return url
}

/** A function with one route that changes something. */
async function startFunction(env: Record<string, string>): Promise<FastifyInstance> {
  const app = await createFunctionApp(
    async (scope, context) => {
      await registerAccess(scope, context)
      scope.put('/thing', { config: { scope: 'blob:write' } }, () => ({ fine: true }))
    },
    {
      name: 'things',
      env: { BZZZ_TOKEN_KEYS_FILE: layout.tokenPublicKeys, BZZZ_ENDPOINT: NOBODY, ...env },
      secretsDirs: [],
      log,
      registry: new Registry(),
      signal: new AbortController().signal,
      version: 'test',
    },
  )
  open.push(() => app.close())
  return app
}

async function put(app: FastifyInstance, token: string): Promise<number> {
  const headers = { authorization: `Bearer ${token}` }
  return (await app.inject({ method: 'PUT', url: '/thing', headers })).statusCode
}

describe('bzzz token', () => {
  it('shows a token once, and afterwards everything about it but the token', async () => {
    const token = await create('--role', 'viewer', '--project', 'apollo', 'team-*')
    const id = await idOf(token)
    const { stdout } = await bzzz(['token', 'ls', '--json'])
    const { tokens } = JSON.parse(stdout) as { tokens: Record<string, unknown>[] }
    expect(tokens).toEqual([
      expect.objectContaining({
        id,
        subject: 'scout',
        role: 'viewer',
        projects: ['apollo', 'team-*'],
        revokedAt: null,
      }),
    ])
    const table = await bzzz(['token', 'ls'])
    expect(table.stdout).toMatch(/^ID +SUBJECT +ROLE +PROJECTS +CREATED +EXPIRES +REVOKED\n/)
    expect(table.stdout).toContain(id)
    const rows = await postgres.query(database.url, `select t::text from tokens t`)
    const secret = token.split('.')[2]!
    for (const text of [stdout, table.stdout, JSON.stringify(rows)]) {
      expect(text).not.toContain('bzzz_')
      expect(text).not.toContain(secret)
    }
  })

  it('makes a token while the database is away, and says what that costs', async () => {
    const made = await bzzz(['token', 'create', '--subject', 'scout'], {
      DATABASE_URL: NO_DATABASE,
    })
    expect(made.code).toBe(0)
    expect(made.stdout).toMatch(/^bzzz_/)
    expect(made.stderr).toContain('bzzz token ls will not show')
    // The row about it waits for the next command.
    await create()
    const { stdout } = await bzzz(['audit', 'ls', '--json'])
    const { rows } = JSON.parse(stdout) as { rows: Record<string, unknown>[] }
    expect(rows.map(({ action, actor, component }) => [action, actor, component])).toEqual([
      ['token create', 'local:ada', 'cli'],
      ['token create', 'local:ada', 'cli'],
    ])
  })

  it('takes a token back through the database, for functions that know no node', async () => {
    const app = await startFunction({ DATABASE_URL: database.url })
    const [token, other] = [await create(), await create()]
    const id = await idOf(token)
    const revoked = await bzzz(['token', 'revoke', id, '--reason', 'lost'])
    expect(revoked).toMatchObject({ code: 0 })
    expect(revoked.stderr).toContain('nodes:')
    expect(await put(app, token)).toBe(401)
    expect(await put(app, other)).toBe(200)
    const { stdout } = await bzzz(['token', 'ls', '--json'])
    const { tokens } = JSON.parse(stdout) as { tokens: { id: string; reason: string }[] }
    expect(tokens.find((one) => one.id === id)).toMatchObject({ reason: 'lost' })
    expect((await bzzz(['token', 'inspect', token])).stdout).toMatch(/^state +revoked\n/)
    expect((await bzzz(['token', 'inspect', other])).stdout).toMatch(/^state +good\n/)
  })

  it('takes a token back through the nodes, while there is no database', async () => {
    const node = await startNode()
    const app = await startFunction({ BZZZ_ENDPOINT: node })
    const token = await create()
    const env = { BZZZ_ENDPOINT: node, DATABASE_URL: NO_DATABASE }
    const revoked = await bzzz(['token', 'revoke', token], env)
    expect(revoked).toMatchObject({ code: 0 })
    expect(revoked.stderr).toContain('database:')
    expect(await put(app, token)).toBe(401)
    expect(await put(app, await create())).toBe(200)
    expect((await bzzz(['token', 'inspect', token], env)).stdout).toMatch(/^state +revoked\n/)
  })

  it('fails when nobody takes the revocation', async () => {
    const token = await create()
    const refused = await bzzz(['token', 'revoke', token], { DATABASE_URL: NO_DATABASE })
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain('Nobody took the revocation')
    expect((await bzzz(['token', 'revoke', 'not an id'])).stderr).toContain('BZZZ_REQUEST_INVALID')
  })

  it('forgets tokens and revocations that are long over, and no others', async () => {
    const [short, long] = [await create('--expires', '1s'), await create()]
    for (const token of [short, long]) await bzzz(['token', 'revoke', token])
    const over = () => new Promise((resolve) => setTimeout(resolve, 1100))
    await over()
    expect(await forgetExpiredTokens(database.db, 3_600_000)).toBe(0)
    expect(await forgetExpiredTokens(database.db, 0)).toBe(2)
    const { stdout } = await bzzz(['token', 'ls', '--all', '--json'])
    const { tokens } = JSON.parse(stdout) as { tokens: { id: string }[] }
    expect(tokens.map(({ id }) => id)).toEqual([await idOf(long)])
  })
})

describe('bzzz audit', () => {
  it('lists allows and denies of what may change something', async () => {
    const app = await startFunction({ DATABASE_URL: database.url })
    const [agent, viewer] = [await create(), await create('--role', 'viewer')]
    expect(await put(app, agent)).toBe(200)
    expect(await put(app, viewer)).toBe(403)
    expect(await put(app, 'bzzz_forged')).toBe(401)
    const list = async (...more: string[]) => {
      const { stdout } = await bzzz(['audit', 'ls', '--action', '/thing', '--json', ...more])
      return (JSON.parse(stdout) as { rows: Record<string, unknown>[] }).rows
    }
    await until(async () => (await list()).length === 3, 'three rows')
    expect(await list()).toMatchObject([
      { outcome: 'deny', status: 401, actor: '' },
      { outcome: 'deny', status: 403, actor: 'scout', tokenId: await idOf(viewer) },
      {
        outcome: 'allow',
        status: 200,
        actor: 'scout',
        action: 'PUT /thing',
        resource: '/thing',
        component: 'things',
        remote: '127.0.0.1',
      },
    ])
    expect(await list('--denied')).toHaveLength(2)
    expect((await bzzz(['audit', 'ls'])).stdout).toContain('unknown (127.0.0.1)')
  })

  it('verifies the chain, and shows when it was cut since the last time', async () => {
    for (let count = 0; count < 3; count += 1) await create()
    const first = await bzzz(['audit', 'verify', '--json'])
    expect(JSON.parse(first.stdout)).toMatchObject({ whole: true, seq: 3 })
    expect(JSON.parse(await readFile(layout.auditAnchor, 'utf8'))).toMatchObject({ seq: 3 })
    const { hash } = JSON.parse(first.stdout) as { hash: string }

    await postgres.query(database.url, 'alter table audit disable trigger all')
    await postgres.query(
      database.url,
      `with cut as (delete from audit where seq = 3)
       update audit_head set seq = 2, hash = (select hash from audit where seq = 2)`,
    )
    const cut = await bzzz(['audit', 'verify'])
    expect(cut.code).toBe(1)
    expect(cut.stderr).toContain('at row 3: the chain went up to row 3. (BZZZ_AUDIT_BROKEN)')
    // Without what was remembered it looks whole; an end written down elsewhere shows it again.
    await rm(layout.auditAnchor)
    const anchored = await bzzz(['audit', 'verify', '--anchor', `3:${hash}`])
    expect(anchored.stderr).toContain('BZZZ_AUDIT_BROKEN')
    expect(await bzzz(['audit', 'verify'])).toMatchObject({ code: 0 })
  })

  it('names the database that does not answer', async () => {
    const away = await bzzz(['audit', 'verify'], { DATABASE_URL: NO_DATABASE })
    expect(away.code).toBe(1)
    expect(away.stderr).toContain('PostgreSQL at 127.0.0.1:1/none does not answer')
  })
})
