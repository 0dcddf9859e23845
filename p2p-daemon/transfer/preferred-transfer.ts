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

interface Opened {
  remote: RemoteBlob
  /** Undefined when it comes over a stream. */
  bulkPort: number | undefined
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
    const opened = await this.#open(peerId, hash, options)
    const { remote } = opened
    const body = this.#resumed(peerId, opened, options)
    const release = (chunk: Uint8Array): void => remote.release?.(chunk)
    return { hash: remote.hash, sizeBytes: remote.sizeBytes, body, release }
  }

  async #open(peerId: string, hash: string, options: FetchOptions): Promise<Opened> {
    const { bulk, stream, mesh } = this.#components
    const peer = mesh.peer(peerId)
    // Behind a relay there is no port to connect to, and none has failed.
    const port = peer?.link === 'relayed' ? null : peer?.bulkPort
    if (typeof port === 'number' && !this.#hasFailed(peerId, port)) {
      try {
        return { remote: await bulk.fetch(peerId, hash, options), bulkPort: port }
      } catch (error) {
        if (!(error instanceof PeerUnreachableError)) throw error
        this.#leaveAlone(peerId, port, error)
      }
    }
    return { remote: await stream.fetch(peerId, hash, options), bulkPort: undefined }
  }

  /** Goes on after a loss for as long as there is progress in between. */
  async *#resumed(
    peerId: string,
    opened: Opened,
    options: FetchOptions,
  ): AsyncGenerator<Uint8Array, void, void> {
    const { hash, sizeBytes } = opened.remote
    let { remote, bulkPort } = opened
    let position = options.start ?? 0
    for (let resumes = 0; ;) {
      try {
        for await (const chunk of remote.body) {
          position += chunk.length
          resumes = 0
          yield chunk
        }
        return
      } catch (error) {
        if (!(error instanceof PeerUnreachableError) || options.signal?.aborted) throw error
        if (bulkPort !== undefined) this.#leaveAlone(peerId, bulkPort, error)
        if (this.#stopped || resumes >= RESUMES_MAX) throw error
        resumes += 1
        this.#log.debug({ err: error, peerId, hash, position }, 'transfer is taken up again')
      }
      ;({ remote, bulkPort } = await this.#open(peerId, hash, { ...options, start: position }))
      if (remote.sizeBytes !== sizeBytes) {
        throw new ProtocolViolationError('The peer changed its mind about the size of a blob.')
      }
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
