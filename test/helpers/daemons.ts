import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { createToken, createTokenKey } from '../../shared/auth/token.ts'
import { startChild, type Child } from './child.ts'

const MAIN = new URL('../../p2p-daemon/main.ts', import.meta.url)

/** Three nodes see each other within a second or two; a busy machine gets more. */
const MESH_TIMEOUT_MS = 60_000

/** Ports for peers lie below those the kernel gives to outgoing connections. */
const PORT_MIN = 20_000
const PORT_MAX = 32_000

/** Longer than any run, also by a clock that is days ahead. */
const TOKEN_LIFETIME_SECONDS = 30 * 86_400

interface Ready {
  peerId: string
  ports: { http: number }
}

/** Where a daemon runs when it does not simply run here: a network namespace. */
export interface Place {
  launcher: readonly string[]
  /** A URL for the port of 127.0.0.1 there. */
  open(port: number): Promise<string>
}

/** One p2p-daemon as a process. Its HTTP port is another one after every start. */
export class Daemon {
  readonly name: string
  readonly dataDir: string
  readonly #env: Record<string, string>
  readonly #main: URL
  readonly #place: Place | undefined
  readonly #execArgv: readonly string[]
  #url = ''
  #child: Child<Ready> | undefined
  #peerId = ''
  /** From the fork of the process until it served, at the last start. */
  readyMs = 0
  /** How much of that it only waited for a processor that other programs kept busy. */
  queuedMs = 0

  constructor(
    name: string,
    dataDir: string,
    init: {
      env: Record<string, string>
      main: URL
      place?: Place | undefined
      execArgv?: readonly string[] | undefined
    },
  ) {
    this.name = name
    this.dataDir = dataDir
    this.#env = init.env
    this.#main = init.main
    this.#place = init.place
    this.#execArgv = init.execArgv ?? []
  }

  get url(): string {
    if (!this.#child) throw new Error(`${this.name} does not run.`)
    return this.#url
  }

  /** Where peers dial it. */
  get p2pPort(): number {
    return Number(this.#env['BZZZ_P2P_PORT'])
  }

  get peerId(): string {
    return this.#peerId
  }

  get running(): boolean {
    return this.#child !== undefined
  }

  async start(): Promise<void> {
    const sinceMs = performance.now()
    this.#child = await startChild<Ready>(this.#main, {
      env: { BZZZ_NODE_NAME: this.name, BZZZ_DATA_DIR: this.dataDir, ...this.#env },
      execArgv: this.#execArgv,
      ...(this.#place && { launcher: this.#place.launcher }),
    })
    this.readyMs = performance.now() - sinceMs
    this.queuedMs = await this.#queued()
    const { peerId, ports } = this.#child.ready
    this.#peerId = peerId
    this.#url = (await this.#place?.open(ports.http)) ?? `http://127.0.0.1:${ports.http}`
  }

  async stop(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    await child?.stop()
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.process.kill(signal)
  }

  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    await child?.kill()
  }

  /** The kernel's second figure: nanoseconds in which the main thread was ready to run. */
  async #queued(): Promise<number> {
    const path = `/proc/${this.#child?.process.pid}/schedstat`
    const text = await readFile(path, 'utf8').catch(() => '0 0 0')
    return Number(text.split(' ')[1]) / 1e6
  }

  /** The most memory the process has held since it started, in MiB. Linux only. */
  async memoryPeakMiB(): Promise<number> {
    const status = await readFile(`/proc/${this.#child?.process.pid}/status`, 'utf8')
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024
  }
}

export interface DaemonsInit {
  /** Where a node keeps its data. Default: a folder below `dir`. */
  dataDir?: (name: string) => string
  env?: Record<string, string>
  /** What only one of them is given. */
  envOf?: (name: string) => Record<string, string>
  placeOf?: (name: string) => Place
  /** Options of Node for one of them. */
  execArgvOf?: (name: string) => readonly string[]
  /** What is run; default: the daemon's source. */
  main?: URL
}

/** Nodes of one cluster that trust each other's tokens; `node1` is where the others dial. */
export class Daemons {
  readonly dir: string
  readonly nodes: readonly Daemon[]
  readonly token: string
  readonly tokenKeysFile: string

  constructor(parts: Pick<Daemons, 'dir' | 'nodes' | 'token' | 'tokenKeysFile'>) {
    this.dir = parts.dir
    this.nodes = parts.nodes
    this.token = parts.token
    this.tokenKeysFile = parts.tokenKeysFile
  }

  get urls(): string[] {
    return this.nodes.map(({ url }) => url)
  }

  /** Starts every node and waits until each sees all others. */
  async start(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.start()))
    const peers = this.nodes.map(({ peerId, name }) => ({ peerId, name }))
    for (const { dataDir } of this.nodes) {
      await writeFile(join(dataDir, 'config', 'peers.json'), JSON.stringify({ peers }))
    }
    await this.meshed()
  }

  /** Every node that runs sees all others that run. */
  async meshed(): Promise<void> {
    const running = this.nodes.filter((node) => node.running)
    const deadline = Date.now() + MESH_TIMEOUT_MS
    for (const { url } of running) {
      for (;;) {
        const { peers } = (await this.getJSON(`${url}/v1/peers`)) as { peers: unknown[] }
        if (peers.length === running.length - 1) break
        if (Date.now() > deadline) throw new Error(`${url} sees ${peers.length} peers.`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  }

  async getJSON(url: string, init: RequestInit = {}): Promise<unknown> {
    const headers = { authorization: `Bearer ${this.token}` }
    const answer = await fetch(url, { ...init, headers })
    if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`)
    return answer.json()
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()))
    await rm(this.dir, { recursive: true })
  }
}

/** `count` nodes that do not run yet, on ports that are free now. */
export async function createDaemons(count: number, init: DaemonsInit = {}): Promise<Daemons> {
  const dir = await mkdtemp(join(tmpdir(), 'bzzz-daemons-'))
  const { privateKey, publicKeys } = await createTokenKey()
  const tokenKeysFile = join(dir, 'token-keys.json')
  await writeFile(tokenKeysFile, JSON.stringify(publicKeys))
  const lifetimeSeconds = TOKEN_LIFETIME_SECONDS
  const token = await createToken(privateKey, { subject: 'test', role: 'admin', lifetimeSeconds })

  const ports = await freePorts(count)
  const nodes = ports.map((port, index) => {
    const name = `node${index + 1}`
    const env = {
      BZZZ_HTTP_PORT: '0',
      BZZZ_P2P_PORT: String(port),
      BZZZ_BULK_PORT: '0',
      DHT_BOOTSTRAP_NODES: `127.0.0.1:${ports[0]}`,
      BZZZ_TOKEN_KEYS_FILE: tokenKeysFile,
      BZZZ_LOG_LEVEL: 'error',
      // Half the processor time of a start goes into reading the source again. This is the folder
      // that Node itself would take.
      NODE_COMPILE_CACHE: join(tmpdir(), 'node-compile-cache'),
      ...init.env,
      ...init.envOf?.(name),
    }
    const dataDir = init.dataDir?.(name) ?? join(dir, name)
    return new Daemon(name, dataDir, {
      env,
      main: init.main ?? MAIN,
      place: init.placeOf?.(name),
      execArgv: init.execArgvOf?.(name),
    })
  })
  return new Daemons({ dir, nodes, token, tokenKeysFile })
}

export async function startDaemons(count: number, init: DaemonsInit = {}): Promise<Daemons> {
  const daemons = await createDaemons(count, init)
  try {
    await daemons.start()
    return daemons
  } catch (error) {
    await daemons.stop()
    throw error
  }
}

async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>()
  while (ports.size < count) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN))
    if (await isFree(port)) ports.add(port)
  }
  return [...ports]
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
