/**
 * `npm run test:services`: the integration and e2e tests against a real PostgreSQL and a real
 * Redis of the distribution, in place of the embedded database. Both run on free ports of 127.0.0.1
 * with their data in a temporary folder, and are stopped by pid however the tests end. Arguments
 * go to vitest: `npm run test:services -- test/integration/db.test.ts`.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { chmod, chown, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { findSystemUser, runAs } from '../cli/up/postgres/system-user.ts'
import { findRedisServer } from '../test/helpers/redis-server.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const HOST = '127.0.0.1'
const DATABASE = 'postgres'

/** A fresh server of either kind is up in a second; a busy machine gets more. */
const READY_TIMEOUT_MS = 30_000
const READY_POLL_MS = 50
/** What is not gone by then is killed. */
const STOP_TIMEOUT_MS = 10_000

const run = promisify(execFile)

/** A server, and the signal that ends it in order. */
interface Server {
  name: string
  child: ChildProcess
  stopSignal: NodeJS.Signals
}

/** What was started here, in order; whatever happens, all of it is stopped. */
const servers: Server[] = []

class MissingServiceError extends Error {
  override readonly name = 'MissingServiceError'
}

/** The folder with the newest `postgres` and `initdb` that Debian has installed. */
function findPostgres(): string {
  const found = globSync('/usr/lib/postgresql/*/bin/initdb')
  const newest = found
    .map(dirname)
    .toSorted((left, right) => majorOf(left) - majorOf(right))
    .at(-1)
  if (newest !== undefined) return newest
  throw new MissingServiceError('There is no PostgreSQL here: apt-get install postgresql.')
}

function majorOf(folder: string): number {
  return Number.parseInt(folder.split('/').at(-2) ?? '', 10)
}

function findRedis(): string {
  const found = findRedisServer()
  if (found !== undefined) return found
  throw new MissingServiceError('There is no Redis here: apt-get install redis-server.')
}

/** A port that was free a moment ago; neither server can be told to choose and say so. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Asks until the answer is yes, the server is gone, the time is up or the run is stopped. */
async function waitReady(
  server: Server,
  isReady: () => Promise<boolean>,
  signal: AbortSignal,
): Promise<void> {
  const until = AbortSignal.any([signal, AbortSignal.timeout(READY_TIMEOUT_MS)])
  while (!(await isReady())) {
    if (server.child.exitCode !== null) throw new Error(`${server.name} ended while it started.`)
    await sleep(READY_POLL_MS, undefined, { signal: until })
  }
}

async function startPostgres(bin: string, folder: string, signal: AbortSignal) {
  const user = await findSystemUser()
  const data = join(folder, 'postgres')
  await mkdir(data, { mode: 0o700 })
  if (user) await chown(data, user.uid, user.gid)
  const { prefix, options } = await runAs(user, [bin, data])
  const asUser = (program: string, args: string[]) => {
    const [command = program, ...rest] = [...prefix, join(bin, program), ...args]
    return { command, rest, options: { ...options, cwd: '/' } }
  }
  const initdb = asUser('initdb', ['-D', data, '-U', 'bzzz', '-A', 'trust', '-E', 'UTF8', '-N'])
  await run(initdb.command, initdb.rest, { ...initdb.options, signal })

  const port = await freePort()
  // Thrown away after the run, so it need not survive the loss of power.
  const settings = [`listen_addresses=${HOST}`, 'unix_socket_directories=', 'fsync=off']
  const flags = settings.flatMap((setting) => ['-c', setting])
  const postgres = asUser('postgres', ['-D', data, '-p', String(port), ...flags])
  const child = spawn(postgres.command, postgres.rest, {
    ...postgres.options,
    stdio: ['ignore', 'ignore', 'ignore'],
    // Ctrl-C is for this script: it stops the tests first.
    detached: true,
  })
  // SIGINT is the fast shutdown of PostgreSQL: it does not wait for clients.
  const server: Server = { name: 'PostgreSQL', child, stopSignal: 'SIGINT' }
  servers.push(server)
  const isReady = () =>
    run(join(bin, 'pg_isready'), ['-q', '-h', HOST, '-p', String(port)]).then(
      () => true,
      () => false,
    )
  await waitReady(server, isReady, signal)
  return `postgres://bzzz@${HOST}:${port}/${DATABASE}`
}

async function startRedis(program: string, folder: string, signal: AbortSignal) {
  const port = await freePort()
  const args = ['--port', String(port), '--bind', HOST, '--dir', folder]
  const child = spawn(program, [...args, '--save', '', '--appendonly', 'no'], {
    stdio: ['ignore', 'ignore', 'ignore'],
    detached: true,
  })
  const server: Server = { name: 'Redis', child, stopSignal: 'SIGTERM' }
  servers.push(server)
  await waitReady(server, () => pings(port), signal)
  return `redis://${HOST}:${port}`
}

async function pings(port: number): Promise<boolean> {
  const socket = connect(port, HOST)
  try {
    await once(socket, 'connect')
    socket.write('PING\r\n')
    const [answer] = (await once(socket, 'data')) as [Buffer]
    return answer.toString().startsWith('+PONG')
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** Ends a process that this script started, by its pid; one that is gone already is done. */
async function stop({ name, child, stopSignal }: Server): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill(stopSignal)
  const timer = setTimeout(() => {
    console.error(`${name} did not stop within ${STOP_TIMEOUT_MS} ms and is killed.`)
    child.kill('SIGKILL')
  }, STOP_TIMEOUT_MS)
  await exited
  clearTimeout(timer)
}

/** Runs the tests and answers with their exit code. */
async function test(env: NodeJS.ProcessEnv): Promise<number> {
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
  const projects = ['--project', 'integration', '--project', 'e2e', '--passWithNoTests=false']
  const child = spawn(process.execPath, [vitest, 'run', ...projects, ...process.argv.slice(2)], {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  })
  servers.push({ name: 'vitest', child, stopSignal: 'SIGTERM' })
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}

const stopping = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => stopping.abort(new Error(`Stopped by ${signal}.`)))
}
const folder = await mkdtemp(join(tmpdir(), 'bzzz-services-'))
try {
  // The account of PostgreSQL has to get through to its data.
  await chmod(folder, 0o755)
  const [postgres, redis] = [findPostgres(), findRedis()]
  const DATABASE_URL = await startPostgres(postgres, folder, stopping.signal)
  const REDIS_URL = await startRedis(redis, folder, stopping.signal)
  const stopped = once(stopping.signal, 'abort').then(() => 130)
  const env = { DATABASE_URL, REDIS_URL, BZZZ_TEST_SERVICES: '1' }
  process.exitCode = await Promise.race([test(env), stopped])
} catch (error) {
  const known = error instanceof MissingServiceError || stopping.signal.aborted
  console.error(known && error instanceof Error ? error.message : error)
  process.exitCode = 1
} finally {
  for (const server of servers.toReversed()) await stop(server)
  await rm(folder, { recursive: true, force: true })
}
