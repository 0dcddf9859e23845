import { PeerUnreachableError, ProtocolViolationError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { BlobTransfer, FetchOptions, RemoteBlob } from './blob-transfer.ts'
import { BULK_PORT_RETRY_MS, RESUMES_MAX } from './constants.ts'
import { transferMetrics, type TransferMetrics } from './transfer-metrics.ts'

export interface PreferredTransferComponents {
  log: Logger
  mesh: Pick<Mesh, 'peer' | 'on'>
  bulk: BlobTransfer
  stream: BlobTransfer
  registry: Registry
}

export interface PreferredTransferInit {
  portRetryMs?: number
}

/**
 * Bulk connections where they can be had, streams of the mesh otherwise: a peer behind a NAT or a
 * firewall, or without a bulk port, is served all the same. A port that failed is left alone for
 * a minute, or until its peer joins anew. When a connection is lost in the middle of a blob, the
 * rest is fetched the other way.
 */
export class PreferredTransfer implements BlobTransfer {
  readonly #log: Logger
  readonly #components: PreferredTransferComponents
  readonly #metrics: TransferMetrics
  readonly #portRetryMs: number
  /** Until when the bulk port of a peer is left alone. Peers that leave are forgotten. */
  readonly #failed = new Map<string, { port: number; untilMs: number }>()
  #stopped = false

  constructor(components: PreferredTransferComponents, init: PreferredTransferInit = {}) {
    this.#log = components.log.child({ component: 'transfer' })
    this.#components = components
    this.#metrics = transferMetrics(components.registry)
    this.#portRetryMs = init.portRetryMs ?? BULK_PORT_RETRY_MS
    const forget = ({ peerId }: { peerId: string }): void => void this.#failed.delete(peerId)
    components.mesh.on('join', forget)
    components.mesh.on('leave', forget)
  }

  /** A node whose bulk port cannot be had does not start: see PortInUseError. */
  async start(): Promise<void> {
    this.#stopped = false
    await this.#components.stream.start()
    await this.#components.bulk.start()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#components.bulk.stop()
    await this.#components.stream.stop()
  }

  async fetch(peerId: string, hash: string, options: FetchOptions = {}): Promise<RemoteBlob> {
    const remote = await this.#open(peerId, hash, options)
    return { ...remote, body: this.#resumed(peerId, remote, options) }
  }

  async #open(peerId: string, hash: string, options: FetchOptions): Promise<RemoteBlob> {
    const { bulk, stream, mesh } = this.#components
    const port = mesh.peer(peerId)?.bulkPort
    if (typeof port !== 'number' || this.#hasFailed(peerId, port)) {
      return stream.fetch(peerId, hash, options)
    }
    try {
      const remote = await bulk.fetch(peerId, hash, options)
      return { ...remote, body: this.#watched(peerId, port, remote.body) }
    } catch (error) {
      if (!(error instanceof PeerUnreachableError)) throw error
      this.#leaveAlone(peerId, port, error)
      return stream.fetch(peerId, hash, options)
    }
  }

  /** Goes on after a loss for as long as there is progress in between. */
  async *#resumed(
    peerId: string,
    remote: RemoteBlob,
    options: FetchOptions,
  ): AsyncGenerator<Uint8Array, void, void> {
    const { hash, sizeBytes } = remote
    let { body } = remote
    let position = options.start ?? 0
    let resumes = 0
    for (;;) {
      try {
        for await (const chunk of body) {
          position += chunk.length
          resumes = 0
          yield chunk
        }
        return
      } catch (error) {
        if (!(error instanceof PeerUnreachableError) || options.signal?.aborted) throw error
        if (this.#stopped || resumes >= RESUMES_MAX) throw error
        resumes += 1
        this.#log.debug({ err: error, peerId, hash, position }, 'transfer is taken up again')
      }
      const rest = await this.#open(peerId, hash, { ...options, start: position })
      if (rest.sizeBytes !== sizeBytes) {
        throw new ProtocolViolationError('The peer changed its mind about the size of a blob.')
      }
      body = rest.body
    }
  }

  async *#watched(
    peerId: string,
    port: number,
    body: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array, void, void> {
    try {
      yield* body
    } catch (error) {
      if (error instanceof PeerUnreachableError) this.#leaveAlone(peerId, port, error)
      throw error
    }
  }

  #hasFailed(peerId: string, port: number): boolean {
    const failed = this.#failed.get(peerId)
    if (!failed) return false
    // A port that changed was told anew, so the peer means it.
    if (failed.port === port && Date.now() < failed.untilMs) return true
    this.#failed.delete(peerId)
    return false
  }

  #leaveAlone(peerId: string, port: number, error: Error): void {
    this.#metrics.fallbacks.inc()
    if (this.#hasFailed(peerId, port)) return
    this.#failed.set(peerId, { port, untilMs: Date.now() + this.#portRetryMs })
    this.#log.info({ err: error, peerId, port }, 'bulk port failed, streams are used')
  }
}
