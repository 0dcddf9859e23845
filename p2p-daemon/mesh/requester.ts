import {
  BodyTooLargeError,
  OverloadedError,
  PeerUnreachableError,
  ProtocolViolationError,
  RemoteError,
} from '../../shared/errors.ts'
import {
  MESSAGE_BYTES_MAX,
  REQUEST_TIMEOUT_MS,
  REQUESTS_OUTSTANDING_MAX,
  REQUESTS_SERVED_MAX,
} from './constants.ts'
import type { MeshMetrics } from './mesh-metrics.ts'
import type { RequestOptions } from './mesh.ts'
import { ask } from './request-protocol.ts'
import type { StreamHost } from './stream-host.ts'

/** Sends requests: bounds how many wait, how long, and says in our errors what went wrong. */
export class Requester {
  readonly #streams: Pick<StreamHost, 'openStream'>
  readonly #requests: MeshMetrics['requests']
  readonly #timeoutMs: number
  /** By peer and protocol. */
  readonly #outstanding = new Map<string, number>()

  constructor(
    components: { streams: Pick<StreamHost, 'openStream'>; metrics: MeshMetrics },
    init: { timeoutMs?: number | undefined } = {},
  ) {
    this.#streams = components.streams
    this.#requests = components.metrics.requests
    this.#timeoutMs = init.timeoutMs ?? REQUEST_TIMEOUT_MS
  }

  async request(
    peerId: string,
    protocol: string,
    payload: Uint8Array,
    options: RequestOptions,
  ): Promise<Uint8Array> {
    options.signal?.throwIfAborted()
    if (payload.length > MESSAGE_BYTES_MAX) {
      throw new BodyTooLargeError('The request is longer than a message may be.')
    }
    const key = `${peerId} ${protocol}`
    const outstanding = this.#outstanding.get(key) ?? 0
    if (outstanding >= REQUESTS_OUTSTANDING_MAX) {
      throw new OverloadedError('Too many requests are waiting for this peer.', 1)
    }
    this.#outstanding.set(key, outstanding + 1)
    try {
      const answer = await this.#send(peerId, protocol, payload, options)
      this.#requests.inc({ protocol, result: 'ok' })
      return answer
    } catch (error) {
      this.#requests.inc({ protocol, result: resultOf(error) })
      throw error
    } finally {
      const left = (this.#outstanding.get(key) ?? 1) - 1
      if (left > 0) this.#outstanding.set(key, left)
      else this.#outstanding.delete(key)
    }
  }

  async #send(
    peerId: string,
    protocol: string,
    payload: Uint8Array,
    options: RequestOptions,
  ): Promise<Uint8Array> {
    const timeout = AbortSignal.timeout(options.timeoutMs ?? this.#timeoutMs)
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
    try {
      const outboundMax = REQUESTS_SERVED_MAX
      const stream = await this.#streams.openStream(peerId, protocol, { signal, outboundMax })
      return await ask(stream, payload, signal)
    } catch (error) {
      options.signal?.throwIfAborted()
      if (error instanceof RemoteError || error instanceof ProtocolViolationError) throw error
      if (error instanceof PeerUnreachableError) throw error
      const message = timeout.aborted
        ? 'The peer did not answer in time.'
        : 'The peer went away before it answered.'
      throw new PeerUnreachableError(message, { cause: error })
    }
  }
}

function resultOf(error: unknown): string {
  if (error instanceof RemoteError) return 'error'
  if (error instanceof ProtocolViolationError) return 'violation'
  if (error instanceof PeerUnreachableError) return 'unreachable'
  return 'aborted'
}
