import type { AddressInfo, Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'

import { PeerUnreachableError, PortInUseError } from '../../shared/errors.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { AllowList } from '../mesh/allow-list.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { BulkTLSOptions } from './bulk-identity.ts'
import {
  BULK_CONNECT_TIMEOUT_MS,
  BULK_CONNECTIONS_MAX,
  BULK_CONNECTIONS_PER_PEER_MAX,
  BULK_DRAIN_TIMEOUT_MS,
  BULK_PORT_FIRST,
  BULK_PORT_LAST,
} from './constants.ts'
import { ServedConnection } from './served-connection.ts'
import type { TransferMetrics } from './transfer-metrics.ts'

export interface BulkListenerComponents {
  log: Logger
  tls: () => Promise<BulkTLSOptions>
  /** Resolves to the peer id of the other side: see proveIdentity. */
  prove: (socket: TLSSocket) => Promise<string>
  allowList: Pick<AllowList, 'has' | 'onChange'>
  store: Pick<BlobStore, 'get'>
  metrics: TransferMetrics
}

export interface BulkListenerInit {
  selfId: string
  host: string
  /** Undefined: the first free one of the range that is set apart for this. */
  port: number | undefined
  portRange?: { first: number; last: number }
  stallTimeoutMs: number
}

/**
 * The bulk port. A connection goes through: TLS handshake, proof of the peer's identity, a look at
 * the allow-list, and only then is the first byte read. A peer struck from the list is cut at
 * once.
 */
export class BulkListener implements Startable {
  readonly #log: Logger
  readonly #components: BulkListenerComponents
  readonly #init: BulkListenerInit
  /** Every socket, those in the middle of a handshake too. */
  readonly #sockets = new Set<Socket>()
  readonly #connections = new Set<ServedConnection>()
  #server: Server | undefined
  #unsubscribe: (() => void) | undefined

  constructor(components: BulkListenerComponents, init: BulkListenerInit) {
    this.#log = components.log
    this.#components = components
    this.#init = init
  }

  /** The port really bound; null while there is none. */
  get port(): number | null {
    const address = this.#server?.address() as AddressInfo | null | undefined
    return address?.port ?? null
  }

  /** @throws PortInUseError */
  async start(): Promise<void> {
    if (this.#server) return
    const server = createServer({
      ...(await this.#components.tls()),
      noDelay: true,
      handshakeTimeout: BULK_CONNECT_TIMEOUT_MS,
    })
    server.maxConnections = BULK_CONNECTIONS_MAX
    server.on('connection', (socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    server.on('secureConnection', (socket) => this.#onSecure(socket))
    server.on('tlsClientError', (error, socket) => {
      this.#log.debug({ err: error, address: socket.remoteAddress }, 'no TLS on the bulk port')
      socket.destroy()
    })
    await this.#listen(server)
    this.#server = server
    this.#unsubscribe = this.#components.allowList.onChange(() => this.#onAllowListChange())
    this.#log.info({ host: this.#init.host, port: this.port }, 'bulk port listens')
  }

  /** What peers are being sent is finished first, as far as that is quick. */
  async stop(): Promise<void> {
    const server = this.#server
    if (!server) return
    this.#server = undefined
    this.#unsubscribe?.()
    const closed = new Promise<void>((resolve) => {
      server.close(() => resolve())
    })
    const signal = AbortSignal.timeout(BULK_DRAIN_TIMEOUT_MS)
    await Promise.all([...this.#connections].map((connection) => connection.drain(signal)))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  async #listen(server: Server): Promise<void> {
    const { host, port, portRange } = this.#init
    const { first, last } = portRange ?? { first: BULK_PORT_FIRST, last: BULK_PORT_LAST }
    if (port !== undefined) {
      if (await listenAt(server, host, port)) return
      throw new PortInUseError(
        `Port ${port} is already in use: stop the program that holds it, or set BZZZ_BULK_PORT.`,
      )
    }
    for (let candidate = first; candidate <= last; candidate += 1) {
      if (await listenAt(server, host, candidate)) return
    }
    throw new PortInUseError(
      `All ports from ${first} to ${last} are in use: free one, or set BZZZ_BULK_PORT.`,
    )
  }

  #onSecure(socket: TLSSocket): void {
    // Until it is known who is there, errors have nobody else to hear them.
    const onError = (error: Error): void => {
      this.#log.debug({ err: error }, 'bulk connection failed before it was identified')
    }
    socket.on('error', onError)
    const address = socket.remoteAddress
    this.#accept(socket)
      .then(() => socket.off('error', onError))
      .catch((error: Error) => {
        this.#log.warn({ err: error, address }, 'bulk connection refused')
        socket.destroy()
      })
  }

  async #accept(socket: TLSSocket): Promise<void> {
    const { log, store, metrics, prove } = this.#components
    const { stallTimeoutMs } = this.#init
    const peerId = await prove(socket)
    // The list may have changed and the node may have stopped while the proof was checked.
    if (!this.#isAllowed(peerId)) {
      throw new PeerUnreachableError(`${peerId} is not on the allow-list.`)
    }
    if (!this.#server || socket.destroyed) return
    const onSent = (bytes: number): void =>
      metrics.bytes.inc({ transport: 'bulk', direction: 'sent' }, bytes)
    const connection = new ServedConnection(
      { log, socket, store, onSent },
      { peerId, stallTimeoutMs },
    )
    this.#connections.add(connection)
    metrics.connections.inc({ direction: 'inbound' })
    socket.once('close', () => {
      this.#connections.delete(connection)
      metrics.connections.dec({ direction: 'inbound' })
    })
    this.#limit(peerId)
    log.debug({ peerId }, 'bulk connection accepted')
  }

  /** Of too many connections of a peer, the oldest is the one it has most likely forgotten. */
  #limit(peerId: string): void {
    const all = [...this.#connections].filter((connection) => connection.peerId === peerId)
    if (all.length <= BULK_CONNECTIONS_PER_PEER_MAX) return
    all[0]?.close(new PeerUnreachableError('The peer opened more connections.'))
  }

  #isAllowed(peerId: string): boolean {
    return peerId !== this.#init.selfId && this.#components.allowList.has(peerId)
  }

  #onAllowListChange(): void {
    for (const connection of this.#connections) {
      if (this.#isAllowed(connection.peerId)) continue
      connection.close(new PeerUnreachableError('The peer was taken off the allow-list.'))
    }
  }
}

/** False when the port is taken; every other problem is thrown. */
async function listenAt(server: Server, host: string, port: number): Promise<boolean> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port, exclusive: true }, () => {
        server.off('error', reject)
        resolve()
      })
    })
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return false
    throw error
  }
}
