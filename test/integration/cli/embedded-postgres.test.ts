import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { EmbeddedPostgres } from '../../../cli/up/postgres/embedded-postgres.ts'
import { findSystemUser } from '../../../cli/up/postgres/system-user.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { listProcesses } from '../../helpers/processes.ts'

let folder: string
let running: EmbeddedPostgres[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bzzz-postgres-'))
  running = []
})

afterEach(async () => {
  await Promise.all(running.map((server) => server.stop()))
  await rm(folder, { recursive: true, force: true })
})

function create(initialised = false): EmbeddedPostgres {
  const server = new EmbeddedPostgres(
    { log: createSilentLogger() },
    {
      folder: join(folder, 'postgres'),
      logFile: join(folder, 'postgres.log'),
      initialised,
      onInitialised: async () => undefined,
    },
  )
  running.push(server)
  return server
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

/** Starts a server below a supervisor that can be killed. */
async function startInChild(): Promise<{ supervisor: ChildProcess; server: number }> {
  const supervisor = spawn(
    process.execPath,
    [fileURLToPath(new URL('./run-postgres.ts', import.meta.url))],
    {
      env: { ...process.env, POSTGRES_FOLDER: join(folder, 'postgres') },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const [line] = (await once(supervisor.stdout, 'data')) as [Buffer]
  return { supervisor, server: Number(line) }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function eventually(check: () => Promise<boolean> | boolean): Promise<void> {
  await expect.poll(check, { timeout: 20_000, interval: 50 }).toBe(true)
}

describe('embedded-postgres', () => {
  it('keeps what was committed over a stop and a start', async () => {
    const first = create()
    const url = await first.start()
    await query(url, `create table t as select 'kept' as v`)
    await first.stop()
    expect(await first.pid()).toBe(null)

    const again = await create(true).start()
    expect(again).toBe(url)
    expect(await query(again, 'select v from t')).toEqual([{ v: 'kept' }])
  })

  it('listens on loopback only and asks for the password', async () => {
    const url = new URL(await create().start())
    const settings = await query(
      url.href,
      `select current_setting('listen_addresses') as listen,
      current_setting('unix_socket_directories') as sockets, current_setting('fsync') as fsync`,
    )
    expect(settings).toEqual([{ listen: '127.0.0.1', sockets: '', fsync: 'on' }])
    url.password = 'wrong'
    await expect(query(url.href, 'select 1')).rejects.toThrow(/password authentication failed/)
    const { mode } = await stat(join(folder, 'postgres/password'))
    expect(mode & 0o777).toBe(0o600)
  })

  it('starts the server again after it was killed', async () => {
    const server = create()
    const url = await server.start()
    await query(url, `create table t as select 'kept' as v`)
    const pid = (await server.pid())!
    process.kill(pid, 'SIGKILL')
    await eventually(async () => {
      const rows = await query(url, 'select v from t').catch(() => [])
      return rows[0]?.['v'] === 'kept'
    })
    expect(await server.pid()).not.toBe(pid)
  })

  it('leaves no server behind when its supervisor is killed', async () => {
    const { supervisor, server } = await startInChild()
    supervisor.kill('SIGKILL')
    await eventually(() => !isAlive(server))
  })

  it('takes the place of a server that outlived its supervisor and the watchdog', async () => {
    const { supervisor, server } = await startInChild()
    const watchdog = (await listProcesses()).find(({ pid }) => pid === server)!.parent
    const watchers = (await listProcesses()).filter(({ parent }) => parent === watchdog)
    supervisor.kill('SIGSTOP')
    for (const { pid } of watchers) if (pid !== server) process.kill(pid, 'SIGKILL')
    process.kill(watchdog, 'SIGKILL')
    supervisor.kill('SIGKILL')
    await eventually(() => supervisor.signalCode === 'SIGKILL')
    expect(isAlive(server)).toBe(true)

    const url = await create(true).start()
    expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }])
    // Whoever inherited the process has to notice its end.
    await eventually(() => !isAlive(server))
  })

  it('removes a stale pid file that names an unrelated process', async () => {
    const first = create()
    await first.start()
    const file = join(folder, 'postgres/data/postmaster.pid')
    const text = await readFile(file, 'utf8')
    await first.stop()
    // Of the server's own account: of others Postgres knows that they cannot be its server.
    const user = await findSystemUser()
    const stranger = spawn('sleep', ['60'], user ? { uid: user.uid, gid: user.gid, cwd: '/' } : {})
    await once(stranger, 'spawn')
    await writeFile(file, text.replace(/^\d+/, String(stranger.pid)))
    await create(true).start()
    expect(stranger.exitCode).toBe(null)
    stranger.kill('SIGKILL')
  })

  it('refuses to make a database where one was lost', async () => {
    const first = create()
    await first.start()
    await first.stop()
    await rm(join(folder, 'postgres/data'), { recursive: true })
    await expect(create(true).start()).rejects.toMatchObject({
      code: 'BZZZ_DATA_FOLDER_INCOMPLETE',
    })
    await expect(stat(join(folder, 'postgres/data'))).rejects.toThrow(/ENOENT/)
  })

  it('refuses a database of another release', async () => {
    const first = create()
    await first.start()
    await first.stop()
    await writeFile(join(folder, 'postgres/data/PG_VERSION'), '17\n')
    await expect(create(true).start()).rejects.toThrow(/is of PostgreSQL 17/)
  })
})
