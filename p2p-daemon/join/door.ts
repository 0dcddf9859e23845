import type { ConnectionEncrypter, MessageStream, SecureConnectionOptions } from '@libp2p/interface'
import { tls } from '@libp2p/tls'

import { OverloadedError, PeerUnreachableError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import { Counter, type Registry } from '../../shared/metrics/metrics.ts'
import { framed } from '../mesh/framing.ts'
import type { EncrypterFactory } from '../mesh/host.ts'
import type { RequestHandler } from '../mesh/mesh.ts'
import { runHandler } from '../mesh/request-protocol.ts'
import {
  JOIN_CONVERSATIONS_MAX,
  JOIN_CONVERSATIONS_PER_MINUTE_MAX,
  JOIN_LINGER_MS,
  JOIN_PROTOCOL,
  JOIN_REQUEST_BYTES_MAX,
  JOIN_TIMEOUT_MS,
} from './constants.ts'

/**
 * Where strangers speak. libp2p agrees on how to encrypt a connection before anything else is
 * said, and this is offered there beside TLS: it does the TLS handshake, which proves who is
 * there, hears one request, gives one answer and hangs up. So a stranger never gets a connection:
 * the gater has no exception, and no other protocol of the node can be reached from here. Who was
 * let in dials again, as a member.
 */
export class Door {
  readonly #log: Logger
  readonly #knocks: Counter<'result'>
  /** When those of the last minute were heard. */
  #heardMs: readonly number[] = []
  #conversations = 0
  #guard: { isOpen: () => boolean; handler: RequestHandler } | undefined

  constructor(components: { log: Logger; registry: Registry }) {
    this.#log = components.log.child({ component: 'door' })
    this.#knocks = new Counter({
      name: 'bzzz_door_knocks_total',
      help: 'Strangers at the door: heard, or turned away while it is closed or crowded',
      labelNames: ['result'],
      registers: [components.registry],
    })
  }

  /** Who decides. Until then the door is closed. */
  serve(guard: { isOpen: () => boolean; handler: RequestHandler }): void {
    this.#guard = guard
  }

  /** Given to libp2p beside its own. Nobody is dialled with it. */
  readonly encrypter: EncrypterFactory = (components) => {
    const inner = tls()(components)
    return {
      protocol: JOIN_PROTOCOL,
      secureInbound: (connection, options) => this.#open(inner, connection, options),
      secureOutbound: () => Promise.reject(new PeerUnreachableError('A member speaks TLS.')),
    }
  }

  /** Never resolves: what was said is all there is. */
  async #open(
    inner: ConnectionEncrypter,
    connection: MessageStream,
    options: SecureConnectionOptions = {},
  ): Promise<never> {
    const handler = this.#admit()
    this.#conversations += 1
    try {
      const timeout = AbortSignal.timeout(JOIN_TIMEOUT_MS)
      const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout
      await this.#converse(inner, connection, handler, signal)
    } finally {
      this.#conversations -= 1
    }
    throw new PeerUnreachableError('Nothing else is spoken at the door.')
  }

  /** @throws PeerUnreachableError, OverloadedError before the stranger has cost anything */
  #admit(): RequestHandler {
    const guard = this.#guard
    if (!guard?.isOpen()) {
      this.#knocks.inc({ result: 'closed' })
      throw new PeerUnreachableError('Nobody is invited.')
    }
    const nowMs = Date.now()
    this.#heardMs = this.#heardMs.filter((heardMs) => nowMs - heardMs < 60_000)
    const crowded = this.#conversations >= JOIN_CONVERSATIONS_MAX
    if (crowded || this.#heardMs.length >= JOIN_CONVERSATIONS_PER_MINUTE_MAX) {
      this.#knocks.inc({ result: 'crowded' })
      throw new OverloadedError('Too many are at the door.', 60)
    }
    this.#heardMs = [...this.#heardMs, nowMs]
    this.#knocks.inc({ result: 'heard' })
    return guard.handler
  }

  async #converse(
    inner: ConnectionEncrypter,
    connection: MessageStream,
    handler: RequestHandler,
    signal: AbortSignal,
  ): Promise<void> {
    const skipStreamMuxerNegotiation = true
    const secured = await inner.secureInbound(connection, { signal, skipStreamMuxerNegotiation })
    const peerId = secured.remotePeer.toString()
    const frames = framed(secured.connection, { frameBytesMax: JOIN_REQUEST_BYTES_MAX })
    const payload = (await frames.read({ signal })).subarray()
    const left = new Promise((resolve) => {
      secured.connection.addEventListener('close', resolve, { once: true })
    })
    const frame = await runHandler(handler, { peerId, payload, signal })
    await frames.write(frame, { signal })
    this.#log.debug({ peerId }, 'stranger was answered')
    // To hang up first would take the answer away from who has not read it yet.
    const patience = new Promise((resolve) => {
      setTimeout(resolve, JOIN_LINGER_MS).unref()
    })
    await Promise.race([left, patience])
  }
}
