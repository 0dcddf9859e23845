import { PeerUnreachableError, RemoteError } from '../../shared/errors.ts'
import { REQUEST_TIMEOUT_MS } from '../../p2p-daemon/mesh/constants.ts'
import type {
  Mesh,
  NodeInfo,
  Peer,
  RequestHandler,
  RequestOptions,
} from '../../p2p-daemon/mesh/mesh.ts'

/** Nodes in one process that can be cut off from each other; nothing is serialised or dialled. */
export class MemoryNetwork {
  readonly #nodes = new Map<string, MemoryMesh>()
  readonly #cut = new Set<string>()
  readonly #stalled = new Set<string>()

  join(peerId: string, init: Partial<NodeInfo> = {}): MemoryMesh {
    const mesh = new MemoryMesh(this, {
      peerId,
      name: peerId.slice(-8),
      version: 'test',
      roles: [],
      storage: true,
      weight: 1,
      zone: 'default',
      bulkPort: null,
      ...init,
    })
    this.#nodes.set(peerId, mesh)
    this.#cut.delete(peerId)
    for (const other of this.#nodes.values()) {
      if (other === mesh || this.#cut.has(other.self.peerId)) continue
      other.emit('join', mesh.asPeer())
      mesh.emit('join', other.asPeer())
    }
    return mesh
  }

  /** `peerId` takes requests and never answers, until told otherwise. */
  stall(peerId: string, stalled = true): void {
    if (stalled) this.#stalled.add(peerId)
    else this.#stalled.delete(peerId)
  }

  isStalled(peerId: string): boolean {
    return this.#stalled.has(peerId)
  }

  nodes(): MemoryMesh[] {
    return [...this.#nodes.values()]
  }

  /** Nothing passes between `peerId` and anybody until `heal`. */
  isolate(peerId: string): void {
    this.#cut.add(peerId)
    const lost = this.#nodes.get(peerId)
    for (const other of this.#nodes.values()) {
      if (!lost || other === lost || this.#cut.has(other.self.peerId)) continue
      other.emit('leave', lost.asPeer())
      lost.emit('leave', other.asPeer())
    }
  }

  heal(peerId: string): void {
    this.#cut.delete(peerId)
    const back = this.#nodes.get(peerId)
    for (const other of this.#nodes.values()) {
      if (!back || other === back || this.#cut.has(other.self.peerId)) continue
      other.emit('join', back.asPeer())
      back.emit('join', other.asPeer())
    }
  }

  reachable(from: string, to: string): boolean {
    return from !== to && !this.#cut.has(from) && !this.#cut.has(to)
  }

  handler(peerId: string, protocol: string): RequestHandler | undefined {
    return this.#nodes.get(peerId)?.handlers.get(protocol)
  }
}

export class MemoryMesh implements Mesh {
  self: NodeInfo
  readonly handlers = new Map<string, RequestHandler>()
  readonly #network: MemoryNetwork
  readonly #listeners = { join: [] as Listener[], leave: [] as Listener[] }

  constructor(network: MemoryNetwork, self: NodeInfo) {
    this.#network = network
    this.self = self
  }

  start(): Promise<void> {
    return Promise.resolve()
  }

  stop(): Promise<void> {
    return Promise.resolve()
  }

  peers(): readonly Peer[] {
    return this.#network
      .nodes()
      .filter((node) => this.#network.reachable(this.self.peerId, node.self.peerId))
      .map((node) => node.asPeer())
  }

  peer(peerId: string): Peer | undefined {
    return this.peers().find((peer) => peer.peerId === peerId)
  }

  expectedPeers(): readonly string[] {
    return this.#network
      .nodes()
      .map((node) => node.self.peerId)
      .filter((peerId) => peerId !== this.self.peerId)
  }

  async request(
    peerId: string,
    protocol: string,
    payload: Uint8Array,
    options: RequestOptions = {},
  ): Promise<Uint8Array> {
    options.signal?.throwIfAborted()
    const timeout = AbortSignal.timeout(options.timeoutMs ?? REQUEST_TIMEOUT_MS)
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
    const aborted = Promise.withResolvers<never>()
    const onAbort = (): void => aborted.reject(new PeerUnreachableError('no answer in time'))
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([this.#ask(peerId, protocol, payload, signal), aborted.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
      options.signal?.throwIfAborted()
    }
  }

  async #ask(
    peerId: string,
    protocol: string,
    payload: Uint8Array,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    await new Promise((resolve) => setImmediate(resolve))
    this.#assertReachable(peerId)
    const handler = this.#network.handler(peerId, protocol)
    if (!handler) throw new PeerUnreachableError('not understood')
    if (this.#network.isStalled(peerId)) return new Promise(() => undefined)
    try {
      return await handler({ peerId: this.self.peerId, payload, signal })
    } catch (error) {
      throw new RemoteError('BZZZ_INTERNAL', 500, String(error), {})
    } finally {
      this.#assertReachable(peerId)
    }
  }

  /** Also for a node that was replaced by its own successor: its process is gone. */
  #assertReachable(peerId: string): void {
    const gone = this.#network.nodes().every((node) => node !== this)
    if (!gone && this.#network.reachable(this.self.peerId, peerId)) return
    throw new PeerUnreachableError('cut')
  }

  announced(): readonly string[] {
    return ['/ip4/127.0.0.1/tcp/1']
  }

  learn(): void {}

  update(changes: Partial<Omit<NodeInfo, 'peerId'>>): void {
    this.self = { ...this.self, ...changes }
  }

  handle(protocol: string, handler: RequestHandler): void {
    this.handlers.set(protocol, handler)
  }

  on(event: 'join' | 'leave', listener: Listener): void {
    this.#listeners[event].push(listener)
  }

  emit(event: 'join' | 'leave', peer: Peer): void {
    for (const listener of this.#listeners[event]) listener(peer)
  }

  asPeer(): Peer {
    return {
      ...this.self,
      latencyMs: 0,
      remoteAddress: '/memory',
      direction: 'outbound',
      link: 'direct',
      connectedSinceMs: 0,
      clockAheadMs: 0,
    }
  }
}

type Listener = (peer: Peer) => void
