import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

import { startChild, type Child } from './child.ts'
import type { Place } from './daemons.ts'

const run = promisify(execFile)

/** Every namespace of a test begins with it and the pid of the test; nothing else is touched. */
const PREFIX = 'bzzz-'
const OWN = /^bzzz-(\d+)-/

const GATE = new URL('netns-gate.ts', import.meta.url)

/** Why this machine cannot lay out networks of its own, as a sentence; null when it can. */
export async function whyNoNamespaces(): Promise<string | null> {
  if (process.platform !== 'linux') return 'Only Linux has network namespaces.'
  if (process.getuid?.() !== 0) return 'Network namespaces need root.'
  for (const [tool, name] of [
    ['ip', 'iproute2'],
    ['nft', 'nftables'],
    ['nsenter', 'util-linux'],
  ] as const) {
    const found = await run('which', [tool]).then(
      () => true,
      () => false,
    )
    if (!found) return `${tool} is not installed (apt-get install ${name}).`
  }
  try {
    await using network = await Network.create()
    const probe = await network.namespace('probe')
    await probe.nft('table ip bzzz { chain out { type nat hook postrouting priority 100; }; }')
    return null
  } catch (error) {
    return `This machine does not let root make network namespaces: ${String(error)}`
  }
}

/** Namespaces of one test. Whatever became of them, they are gone when it is disposed of. */
export class Network implements AsyncDisposable {
  readonly #dir: string
  readonly #namespaces: Namespace[] = []

  private constructor(dir: string) {
    this.#dir = dir
  }

  /** Sweeps first what tests left that were killed. */
  static async create(): Promise<Network> {
    const { stdout } = await run('ip', ['netns', 'list'])
    for (const line of stdout.split('\n')) {
      const name = line.split(' ')[0] ?? ''
      const pid = OWN.exec(name)?.[1]
      if (pid !== undefined && !isRunning(Number(pid))) await run('ip', ['netns', 'delete', name])
    }
    return new Network(await mkdtemp(join(tmpdir(), 'bzzz-netns-')))
  }

  async namespace(role: string): Promise<Namespace> {
    const unique = Math.random().toString(36).slice(2, 8)
    const name = `${PREFIX}${process.pid}-${unique}-${role}`
    await run('ip', ['netns', 'add', name])
    const namespace = new Namespace(name, this.#dir)
    this.#namespaces.push(namespace)
    await namespace.ip('link', 'set', 'lo', 'up')
    return namespace
  }

  /** A switch: what is plugged into it is one local network. */
  async bridge(role: string): Promise<Namespace> {
    const bridge = await this.namespace(role)
    await bridge.ip('link', 'add', 'bridge', 'type', 'bridge')
    await bridge.ip('link', 'set', 'bridge', 'up')
    return bridge
  }

  /** A cable from `device` of `from`, with an address such as 10.0.0.2/24, to a bridge. */
  async plug(from: Namespace, device: string, address: string, bridge: Namespace): Promise<void> {
    const port = `port${bridge.ports++}`
    const cable = ['type', 'veth', 'peer', 'name', port, 'netns', bridge.name]
    await from.ip('link', 'add', device, ...cable)
    await bridge.ip('link', 'set', port, 'master', 'bridge', 'up')
    await from.ip('address', 'add', address, 'dev', device)
    await from.ip('link', 'set', device, 'up')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const namespace of this.#namespaces) await namespace.close()
    await rm(this.#dir, { recursive: true, force: true })
  }
}

/** One network stack, the place of a daemon. Its HTTP can be reached from outside. */
export class Namespace implements Place {
  readonly name: string
  ports = 0
  readonly #dir: string
  readonly #gates: { child: Child<object>; server: Server }[] = []

  constructor(name: string, dir: string) {
    this.name = name
    this.#dir = dir
  }

  /**
   * `nsenter` becomes the program it is to run: the pid stays, and so does the IPC channel. Unlike
   * `ip netns exec` it makes no mount namespace, which would hold on to disks of other tests.
   */
  get launcher(): readonly [string, ...string[]] {
    return ['nsenter', `--net=/run/netns/${this.name}`]
  }

  async #run(...command: string[]): Promise<void> {
    const [enter, ...rest] = this.launcher
    await run(enter, [...rest, ...command])
  }

  async ip(...args: string[]): Promise<void> {
    await run('ip', ['-n', this.name, ...args])
  }

  /** Rules in the language of nft, taken over as a whole or not at all. */
  async nft(rules: string): Promise<void> {
    await this.#run('nft', rules)
  }

  /** Passes on what is not for this namespace itself. */
  async route(): Promise<void> {
    await this.#run('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward')
  }

  /**
   * A URL outside the namespace for a port inside it. A unix socket belongs to no network, so a
   * process inside passes on what comes to one, and no interface leads out of the namespace.
   */
  async open(port: number): Promise<string> {
    await this.#closeGates()
    const path = join(this.#dir, `${this.name}-${port}`)
    const { launcher } = this
    const child = await startChild<object>(GATE, { args: [path, String(port)], launcher })
    const server = createServer((socket) => {
      const gate = connect(path)
      socket.on('error', () => gate.destroy()).on('close', () => gate.destroy())
      gate.on('error', () => socket.destroy()).on('close', () => socket.destroy())
      socket.pipe(gate).pipe(socket)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    this.#gates.push({ child, server })
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    await this.#closeGates()
    await run('ip', ['netns', 'delete', this.name])
  }

  async #closeGates(): Promise<void> {
    for (const { child, server } of this.#gates.splice(0)) {
      server.close()
      await child.kill()
    }
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
