import { parseHash } from '../../shared/blob/hash.ts'
import { PeerUnreachableError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Counter, Histogram, Registry } from '../../shared/metrics/metrics.ts'
import type { AllowList } from '../mesh/allow-list.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { NodeKey } from '../mesh/node-key.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { BlobTransfer, FetchOptions, RemoteBlob } from './blob-transfer.ts'
import { createTLSOptions, proveIdentity, type BulkTLSOptions } from './bulk-identity.ts'
import { BufferPool } from '../store/buffer-pool.ts'
import { BulkListener } from './bulk-listener.ts'
import { BulkPool, type Lease } from './bulk-pool.ts'
import { BulkPull } from './bulk-pull.ts'
import { BULK_CONNECT_TIMEOUT_MS, BULK_KEEP_ALIVE_MS, STALL_TIMEOUT_MS } from './constants.ts'
import { transferMetrics } from './transfer-metrics.ts'

export interface BulkTransferComponents {
  log: Logger
  nodeKey: NodeKey
  allowList: Pick<AllowList, 'has' | 'onChange'>
  /** Knows where peers are, and tells them where this node listens. */
  mesh: Pick<Mesh, 'peer'> & { update(changes: { bulkPort: number | null }): void }
  store: Pick<BlobStore, 'get'>
  registry: Registry
}

export interface BulkTransferInit {
  /** Address to bind to. */
  host: string
  /** Undefined: the first free one of the range that is set apart for this. */
  port: number | undefined
  portRange?: { first: number; last: number }
  connectTimeoutMs?: number
  stallTimeoutMs?: number
  keepAliveMs?: number
}

/**
 * Blobs over TLS connections of their own, about twice as fast as a stream of the mesh. Both sides
 * are here: the bulk port, which peers learn of through the mesh, and `fetch`, which pulls over
 * one long-lived connection to each peer. Start it after the mesh.
 */
export class BulkTransfer implements BlobTransfer {
  readonly #components: BulkTransferComponents
  readonly #received: ReturnType<Counter['labels']>
  readonly #duration: ReturnType<Histogram['labels']>
  readonly #listener: BulkListener
  readonly #pool: BulkPool
  readonly #buffers = new BufferPool()
  #tls: Promise<BulkTLSOptions> | undefined
  #unsubscribe: (() => void) | undefined

  constructor(components: BulkTransferComponents, init: BulkTransferInit) {
    const { nodeKey, allowList, mesh, store } = components
    this.#components = components
    const log = components.log.child({ component: 'bulk-transfer' })
    const metrics = transferMetrics(components.registry)
    this.#received = metrics.bytes.labels({ transport: 'bulk', direction: 'received' })
    this.#duration = metrics.duration.labels({ transport: 'bulk' })
    const tls = (): Promise<BulkTLSOptions> => (this.#tls ??= createTLSOptions(nodeKey))
    const stallTimeoutMs = init.stallTimeoutMs ?? STALL_TIMEOUT_MS
    this.#listener = new BulkListener(
      { log, tls, prove: (socket) => proveIdentity(socket), allowList, store, metrics },
      { ...init, selfId: nodeKey.peerId, stallTimeoutMs },
    )
    this.#pool = new BulkPool(
      { log, mesh, tls, metrics, buffers: this.#buffers },
      {
        connectTimeoutMs: init.connectTimeoutMs ?? BULK_CONNECT_TIMEOUT_MS,
        keepAliveMs: init.keepAliveMs ?? BULK_KEEP_ALIVE_MS,
        stallTimeoutMs,
      },
    )
  }

  /** The port really bound; null while there is none. */
  get port(): number | null {
    return this.#listener.port
  }

  /** @throws PortInUseError */
  async start(): Promise<void> {
    if (this.#unsubscribe) return
    const { allowList, mesh } = this.#components
    await this.#listener.start()
    this.#unsubscribe = allowList.onChange(() => {
      const revoked = new PeerUnreachableError('The peer was taken off the allow-list.')
      this.#pool.closeAll(revoked, (peerId) => allowList.has(peerId))
    })
    mesh.update({ bulkPort: this.port })
  }

  /** Cuts running fetches; what peers are being sent may end. */
  async stop(): Promise<void> {
    if (!this.#unsubscribe) return
    this.#unsubscribe()
    this.#unsubscribe = undefined
    this.#components.mesh.update({ bulkPort: null })
    this.#pool.closeAll(new PeerUnreachableError('This node is stopping.'))
    await this.#listener.stop()
  }

  async fetch(peerId: string, hash: string, options: FetchOptions = {}): Promise<RemoteBlob> {
    const { start = 0, signal } = options
    const id = parseHash(hash)
    const startedMs = performance.now()
    for (let isRetry = false; ; isRetry = true) {
      const lease = await this.#lease(peerId, signal)
      const pull = new BulkPull(
        {
          connection: lease.connection,
          ahead: lease.ahead,
          buffers: this.#buffers,
          onBytes: (bytes) => this.#received.inc(bytes),
          onEnd: (isComplete) => {
            lease.release()
            if (isComplete) this.#duration.observe((performance.now() - startedMs) / 1000)
          },
        },
        { hash: id, start, signal },
      )
      try {
        return await pull.open()
      } catch (error) {
        // The connection may have been dead for a while, with nobody asking anything of it.
        const mayRetry = lease.reused && !isRetry && !signal?.aborted
        if (!mayRetry || !(error instanceof PeerUnreachableError)) throw error
      }
    }
  }

  /** Others may be waiting for the same connection, so an abort does not end the attempt. */
  async #lease(peerId: string, signal: AbortSignal | undefined): Promise<Lease> {
    signal?.throwIfAborted()
    const leasing = this.#pool.lease(peerId)
    if (!signal) return leasing
    const aborted = Promise.withResolvers<never>()
    const onAbort = (): void => aborted.reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([leasing, aborted.promise])
    } catch (error) {
      leasing.then((lease) => lease.release()).catch(() => undefined)
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }
}
