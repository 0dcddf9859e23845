import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

import pg from 'pg'

import { checkPorts, planPorts } from '../../cli/up/ports.ts'
import type { RunningState } from '../../cli/up/running-file.ts'
import { PortInUseError } from '../../shared/errors.ts'
import { killTree, processTree } from './processes.ts'

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

/**
 * Where the offsets of a worker of vitest lie. All ports of a plan are then below those that the
 * kernel gives to outgoing connections, and no port of one worker is one of the other: the ports
 * of a plan lie within 6,300 of each other.
 */
const OFFSETS = [
  { min: 13_500, max: 20_000 },
  { min: 1_000, max: 7_000 },
] as const

/** A cluster that is not gone by then hangs; the promise of `bzzz up` is 5 s. */
const STOP_TIMEOUT_MS = 30_000

export interface ClusterInit {
  nodes?: number
  /** More of the command line: `--name ironwood`. */
  args?: readonly string[]
  /** An existing data folder; it is left alone by `dispose`. Default: a new one, removed. */
  dataDir?: string
  env?: Record<string, string>
}

/** A real `bzzz up` as a child process. */
export interface Cluster {
  state: RunningState
  token: string
  dataDir: string
  /** What it said on stderr so far. */
  stderr(): string
  /** Process ids as they are now: parts that died are started again under others. */
  processes(): Promise<Record<string, number>>
  /** The supervisor and everything below it. */
  tree(): Promise<number[]>
  /** SIGTERM; resolves with the exit code once the process is gone. */
  stop(): Promise<number | null>
  /** SIGKILL to the supervisor and everything below it. */
  killAll(): Promise<void>
  dispose(): Promise<void>
}

/** The environment of a user who has set nothing, or only the servers to test with. */
export function userEnv(env: Record<string, string> = {}): Record<string, string> {
  const { PATH = '', HOME = '', LANG = 'C.UTF-8' } = process.env
  // Half the processor time of a start goes into reading the source again.
  const NODE_COMPILE_CACHE = join(tmpdir(), 'node-compile-cache')
  return { PATH, HOME, LANG, NODE_COMPILE_CACHE, ...env }
}

export function spawnCLI(args: readonly string[], env: Record<string, string>): ChildProcess {
  return spawn(process.execPath, [join(PROJECT, 'cli/main.ts'), ...args], {
    env,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
}

/** Runs one command to its end. */
export async function runCLI(
  args: readonly string[],
  { env = {}, stdin = '' }: { env?: Record<string, string>; stdin?: string | Buffer } = {},
) {
  const child = spawnCLI(args, userEnv(env))
  child.stdin!.on('error', () => undefined)
  child.stdin!.end(stdin)
  const [stdout, stderr, [exitCode]] = await Promise.all([
    text(child.stdout!),
    text(child.stderr!),
    once(child, 'exit') as Promise<[number | null]>,
  ])
  return { stdout, stderr, exitCode }
}

/** An offset at which every port of a plan is free now. */
export async function findPortOffset(nodes: number): Promise<number> {
  const { min, max } = OFFSETS[Number(process.env['VITEST_POOL_ID'] ?? 0) % 2]!
  for (;;) {
    const offset = min + Math.floor(Math.random() * (max - min))
    const functions = { mcp: 3001, llm: 3002, resolve: 3003 }
    try {
      await checkPorts(planPorts({ nodes, offset, functions }), '127.0.0.1')
      return offset
    } catch (error) {
      if (!(error instanceof PortInUseError)) throw error
    }
  }
}

export async function makeTempDir(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'bzzz-e2e-'))
}

/** Between the look whether a port is free and its use, somebody else may have taken it. */
const START_ATTEMPTS_MAX = 3

export async function startCluster(init: ClusterInit = {}, attempt = 1): Promise<Cluster> {
  const { nodes = 3 } = init
  const base = init.dataDir === undefined ? await makeTempDir() : null
  const dataDir = init.dataDir ?? join(base!, 'data')
  const services = init.env?.['DATABASE_URL'] ? null : await servicesOf(dataDir)
  const offset = await findPortOffset(nodes)
  // A database that is given was made for this test.
  const env = userEnv({ BZZZ_MIGRATE: 'true', ...services?.env, ...init.env })
  const args = ['up', '--data', dataDir, '--nodes', `${nodes}`, '--port-offset', `${offset}`]
  const child = spawnCLI([...args, ...(init.args ?? []), '--json'], env)
  let said = ''
  child.stderr!.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const exited = once(child, 'exit') as Promise<[number | null]>
  const dispose = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      await killTree(child.pid!)
      await exited
    }
    await services?.drop()
    if (base) await rm(base, { recursive: true, force: true })
  }
  const first = await Promise.race([
    once(child.stdout!, 'data') as Promise<[Buffer]>,
    exited.then(() => null),
  ])
  if (!first) {
    await dispose()
    const isTaken = /Something else listens|BZZZ_PORT_IN_USE/.test(said)
    if (isTaken && attempt < START_ATTEMPTS_MAX) return startCluster(init, attempt + 1)
    throw new Error(`bzzz up ended before it was ready:\n${said}`)
  }
  const state = JSON.parse(first[0].toString()) as RunningState
  return {
    state,
    dataDir,
    token: (await readFile(state.tokenFile, 'utf8')).trim(),
    stderr: () => said,
    processes: async () => {
      const running = await readFile(join(dataDir, 'running.json'), 'utf8')
      return (JSON.parse(running) as RunningState).processes
    },
    tree: () => processTree(child.pid!),
    stop: async () => {
      child.kill('SIGTERM')
      const timer = setTimeout(() => void killTree(child.pid!), STOP_TIMEOUT_MS)
      const [exitCode] = await exited
      clearTimeout(timer)
      return exitCode
    },
    killAll: async () => {
      await killTree(child.pid!)
      await exited
    },
    dispose,
  }
}

/** Databases of clusters that are started a second time on the same data. */
const databases = new Map<string, string>()

/** The servers that the tests are to use, with a database of the cluster's own. */
async function servicesOf(dataDir: string) {
  const { DATABASE_URL, REDIS_URL } = process.env
  if (!DATABASE_URL) return null
  const known = databases.get(dataDir)
  const name = known ?? `e2e_${process.pid}_${databases.size}`
  if (!known) {
    databases.set(dataDir, name)
    await query(DATABASE_URL, `create database ${name}`)
  }
  const url = Object.assign(new URL(DATABASE_URL), { pathname: `/${name}` }).href
  // One of Redis' sixteen databases, eight for each worker: clusters side by side share no queue.
  const at = (Number(process.env['VITEST_POOL_ID'] ?? 0) % 2) * 8 + (databases.size % 8)
  const redis = REDIS_URL && Object.assign(new URL(REDIS_URL), { pathname: `/${at}` }).href
  return {
    env: { DATABASE_URL: url, ...(redis && { REDIS_URL: redis }) },
    // Whoever started first drops it, as the disposal comes in reverse.
    drop: async () => {
      if (known) return
      databases.delete(dataDir)
      await query(DATABASE_URL, `drop database if exists ${name} with (force)`)
    },
  }
}

async function query(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(statement)
  await client.end()
}

export interface WrittenJSON {
  address: string
  version: number
  hash: string
  size: number
  replicas: string[]
}

/** Requests with the admin token of the cluster. */
export function clientOf({ state, token }: Pick<Cluster, 'state' | 'token'>) {
  const headers = { authorization: `Bearer ${token}` }
  const resolveURL = state.endpoints.functions['resolve']!
  const put = (address: string, body: string, more: Record<string, string> = {}) =>
    fetch(`${resolveURL}/${address}`, {
      method: 'PUT',
      body,
      headers: { ...headers, 'content-type': 'text/plain', ...more },
    })
  return {
    resolveURL,
    /** The same function below the gateway. */
    gatewayURL: `${state.endpoints.gateway}/function/resolve`,
    nodeURL: (index: number) => state.endpoints.nodes[index]!.http,
    put,
    /** Throws with what the server says unless a version was written. */
    putWell: async (...args: Parameters<typeof put>) => {
      const answer = await put(...args)
      const text = await answer.text()
      if (answer.status !== 201) throw new Error(`${answer.status} ${text}`)
      return JSON.parse(text) as WrittenJSON
    },
    get: (url: string, more: Record<string, string> = {}) =>
      fetch(url, { headers: { ...headers, ...more } }),
    putBlob: async (node: string, body: string) => {
      const answer = await fetch(`${node}/v1/blobs`, { method: 'PUT', body, headers })
      return (await answer.json()) as { hash: string }
    },
  }
}
