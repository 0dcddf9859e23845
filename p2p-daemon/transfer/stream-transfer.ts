import { parseHash } from '../../shared/blob/hash.ts'
import {
  BlobNotFoundError,
  PeerUnreachableError,
  RangeNotSatisfiableError,
} from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'
import type { StreamHost } from '../mesh/stream-host.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { BlobTransfer, FetchOptions, RemoteBlob } from './blob-transfer.ts'
import {
  BLOB_PROTOCOL,
  BODY_START_TIMEOUT_MS,
  STALL_TIMEOUT_MS,
  STREAMS_SERVED_MAX,
} from './constants.ts'
import { RangeReader } from './range-reader.ts'
import { serveRanges } from './range-server.ts'
import { StreamPool, type PooledStream } from './stream-pool.ts'
import { transferMetrics, type TransferMetrics } from './transfer-metrics.ts'

export interface StreamTransferComponents {
  log: Logger
  mesh: StreamHost
  store: Pick<BlobStore, 'get'>
  registry: Registry
}

export interface StreamTransferInit {
  stallTimeoutMs?: number
}

/**
 * Blobs over streams of the mesh, for small ones and for peers whose bulk port cannot be reached.
 * Both sides are here: `fetch` pulls from a peer, and what this node stores is served to peers.
 * Construct it before the mesh starts.
 */
export class StreamTransfer implements BlobTransfer {
  readonly #log: Logger
  readonly #stallTimeoutMs: number
  readonly #pool: StreamPool
  readonly #metrics: TransferMetrics

  constructor(components: StreamTransferComponents, init: StreamTransferInit = {}) {
    const { mesh, store, registry } = components
    this.#log = components.log.child({ component: 'stream-transfer' })
    this.#stallTimeoutMs = init.stallTimeoutMs ?? STALL_TIMEOUT_MS
    this.#metrics = transferMetrics(registry)
    this.#pool = new StreamPool({
      open: (peerId, signal) => {
        const options = { signal, outboundMax: STREAMS_SERVED_MAX }
        return mesh.openStream(peerId, BLOB_PROTOCOL, options)
      },
    })
    const onSent = (bytes: number): void => {
      this.#metrics.bytes.inc({ transport: 'stream', direction: 'sent' }, bytes)
    }
    const served = { store, onSent, stallTimeoutMs: this.#stallTimeoutMs }
    mesh.handleStream(BLOB_PROTOCOL, (stream) => serveRanges(stream, served), {
      inboundMax: STREAMS_SERVED_MAX,
    })
  }

  async start(): Promise<void> {}

  /** Cuts running fetches. */
  async stop(): Promise<void> {
    this.#pool.closeAll(new PeerUnreachableError('This node is stopping.'))
  }

  async fetch(peerId: string, hash: string, options: FetchOptions = {}): Promise<RemoteBlob> {
    const id = parseHash(hash)
    const endTimer = this.#metrics.duration.startTimer({ transport: 'stream' })
    for (;;) {
      const pooled = await this.#takeStream(peerId, options.signal)
      const reader = new RangeReader(pooled, {
        hash: id,
        start: options.start ?? 0,
        signal: options.signal,
        stallTimeoutMs: this.#stallTimeoutMs,
      })
      try {
        const sizeBytes = await reader.open()
        const body = this.#body(pooled, reader, { signal: options.signal, onComplete: endTimer })
        return { hash: id, sizeBytes, body }
      } catch (error) {
        const answered =
          error instanceof BlobNotFoundError || error instanceof RangeNotSatisfiableError
        if (answered) this.#pool.giveBack(pooled)
        else this.#pool.discard(pooled, error as Error)
        // The other side may have closed an idle stream just when it was taken again.
        if (!(pooled.reused && error instanceof PeerUnreachableError)) throw error
        this.#log.debug({ peerId, hash: id }, 'idle stream had ended, opening another')
      }
    }
  }

  async #takeStream(peerId: string, signal?: AbortSignal): Promise<PooledStream> {
    const timeout = AbortSignal.timeout(this.#stallTimeoutMs)
    try {
      return await this.#pool.take(peerId, signal ? AbortSignal.any([signal, timeout]) : timeout)
    } catch (error) {
      signal?.throwIfAborted()
      if (!timeout.aborted) throw error
      throw new PeerUnreachableError('The peer did not open a stream in time.', { cause: error })
    }
  }

  /** Resets the stream when nobody reads, when the caller aborts, and when reading ends early. */
  #body(
    pooled: PooledStream,
    reader: RangeReader,
    { signal, onComplete }: { signal: AbortSignal | undefined; onComplete: () => void },
  ): AsyncIterable<Uint8Array> {
    const discard = (reason: string): void =>
      this.#pool.discard(pooled, new PeerUnreachableError(reason))
    const unread = setTimeout(() => discard('Nobody read the body.'), BODY_START_TIMEOUT_MS)
    unread.unref()
    const onAbort = (): void => {
      clearTimeout(unread)
      discard('The caller lost interest.')
    }
    // A signal of its own: callers may hand the same one to many fetches.
    const cut = AbortSignal.any(signal ? [signal] : [])
    cut.addEventListener('abort', onAbort, { once: true })
    const pool = this.#pool
    const count = (bytes: number): void =>
      this.#metrics.bytes.inc({ transport: 'stream', direction: 'received' }, bytes)
    return (async function* () {
      clearTimeout(unread)
      let complete = false
      try {
        for await (const chunk of reader.bytes()) {
          count(chunk.length)
          yield chunk
        }
        complete = true
        onComplete()
      } finally {
        cut.removeEventListener('abort', onAbort)
        if (complete) pool.giveBack(pooled)
        else discard('The body was not read to its end.')
      }
    })()
  }
}
