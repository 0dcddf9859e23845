import type { Stream } from '@libp2p/interface'
import type { LengthPrefixedStream } from '@libp2p/utils'

import { OverloadedError } from '../../shared/errors.ts'
import { framed } from '../mesh/framing.ts'
import {
  FETCHES_PER_PEER_MAX,
  STREAM_IDLE_TIMEOUT_MS,
  STREAMS_IDLE_MAX,
  UNREAD_BYTES_MAX,
} from './constants.ts'
import { ANSWER_MESSAGE_BYTES_MAX } from './range-message.ts'

export interface PooledStream {
  readonly peerId: string
  readonly stream: Stream
  readonly frames: LengthPrefixedStream<Stream>
  /** True when it served another fetch before: it may have ended unnoticed. */
  reused: boolean
}

/**
 * Streams that stay open between fetches: agreeing on a protocol costs a round trip and more, so
 * many small blobs move about three times as fast over a stream that is used again.
 */
export class StreamPool {
  readonly #open: (peerId: string, signal: AbortSignal) => Promise<Stream>
  readonly #idle = new Map<string, PooledStream[]>()
  readonly #timers = new Map<PooledStream, NodeJS.Timeout>()
  readonly #busy = new Set<PooledStream>()
  readonly #counts = new Map<string, number>()

  constructor(components: { open: (peerId: string, signal: AbortSignal) => Promise<Stream> }) {
    this.#open = components.open
  }

  /** @throws OverloadedError, or what opening a stream failed with */
  async take(peerId: string, signal: AbortSignal): Promise<PooledStream> {
    const count = this.#counts.get(peerId) ?? 0
    if (count >= FETCHES_PER_PEER_MAX) {
      throw new OverloadedError('Too many blobs are being fetched from this peer.', 1)
    }
    this.#counts.set(peerId, count + 1)
    try {
      const pooled = this.#takeIdle(peerId) ?? (await this.#create(peerId, signal))
      this.#busy.add(pooled)
      return pooled
    } catch (error) {
      this.#uncount(peerId)
      throw error
    }
  }

  /** Ends a fetch whose answers were all read. */
  giveBack(pooled: PooledStream): void {
    if (!this.#busy.delete(pooled)) return
    const { peerId, stream } = pooled
    this.#uncount(peerId)
    const idle = this.#idle.get(peerId) ?? []
    if (stream.status !== 'open' || idle.length >= STREAMS_IDLE_MAX) {
      close(stream)
      return
    }
    pooled.reused = true
    this.#idle.set(peerId, [...idle, pooled])
    const timer = setTimeout(() => {
      this.#forget(pooled)
      close(stream)
    }, STREAM_IDLE_TIMEOUT_MS)
    this.#timers.set(pooled, timer)
  }

  /** Ends a fetch that failed or was left in the middle: the peer stops sending. */
  discard(pooled: PooledStream, reason: Error): void {
    pooled.stream.abort(reason)
    if (this.#busy.delete(pooled)) this.#uncount(pooled.peerId)
  }

  /** Resets everything, also what is in use. */
  closeAll(reason: Error): void {
    for (const pooled of this.#timers.keys()) {
      this.#forget(pooled)
      pooled.stream.abort(reason)
    }
    for (const pooled of this.#busy) this.discard(pooled, reason)
  }

  #takeIdle(peerId: string): PooledStream | undefined {
    for (const pooled of this.#idle.get(peerId)?.toReversed() ?? []) {
      this.#forget(pooled)
      if (pooled.stream.status === 'open' && pooled.stream.remoteWriteStatus === 'writable') {
        return pooled
      }
      close(pooled.stream)
    }
    return undefined
  }

  async #create(peerId: string, signal: AbortSignal): Promise<PooledStream> {
    const stream = await this.#open(peerId, signal)
    const frames = framed(stream, {
      frameBytesMax: ANSWER_MESSAGE_BYTES_MAX,
      bufferBytesMax: UNREAD_BYTES_MAX,
    })
    return { peerId, stream, frames, reused: false }
  }

  #forget(pooled: PooledStream): void {
    clearTimeout(this.#timers.get(pooled))
    this.#timers.delete(pooled)
    const rest = this.#idle.get(pooled.peerId)?.filter((other) => other !== pooled) ?? []
    if (rest.length > 0) this.#idle.set(pooled.peerId, rest)
    else this.#idle.delete(pooled.peerId)
  }

  #uncount(peerId: string): void {
    const left = (this.#counts.get(peerId) ?? 1) - 1
    if (left > 0) this.#counts.set(peerId, left)
    else this.#counts.delete(peerId)
  }
}

function close(stream: Stream): void {
  stream.close().catch((error: Error) => stream.abort(error))
}
