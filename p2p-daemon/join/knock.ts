import { yamux } from '@chainsafe/libp2p-yamux'
import type { ConnectionEncrypter, MessageStream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

import { PeerUnreachableError } from '../../shared/errors.ts'
import { framed } from '../mesh/framing.ts'
import type { EncrypterFactory } from '../mesh/host.ts'
import { protectorFor } from '../mesh/network-key.ts'
import type { NodeKey } from '../mesh/node-key.ts'
import { decodeAnswer } from '../mesh/request-protocol.ts'
import { JOIN_ANSWER_BYTES_MAX, JOIN_PROTOCOL, KNOCK_TIMEOUT_MS } from './constants.ts'

export interface Knock {
  nodeKey: NodeKey
  /** Whoever answers must prove to be this one. */
  peerId: string
  /** Tried one after the other. */
  addresses: readonly string[]
  /** 32 bytes in hex; undefined where the network has none. */
  networkKey: string | undefined
  payload: Uint8Array
}

/** Somebody was there and hung up instead of answering. */
export class TurnedAwayError extends Error {
  override readonly name = 'TurnedAwayError'
}

/**
 * Says one thing at another node's door and returns the answer. It has a libp2p host of its own
 * for the time, so that the node that runs meanwhile needs to know nothing of it.
 * @throws RemoteError for a refusal, TurnedAwayError, PeerUnreachableError
 */
export async function knock(init: Knock, signal: AbortSignal): Promise<Uint8Array> {
  const { nodeKey, peerId, addresses, networkKey } = init
  const conversation = new Conversation(init.payload)
  const host = await createLibp2p({
    privateKey: nodeKey.privateKey,
    addresses: { listen: [] },
    transports: [tcp()],
    connectionEncrypters: [conversation.encrypter],
    streamMuxers: [yamux()],
    ...(networkKey !== undefined && { connectionProtector: protectorFor(networkKey) }),
    connectionManager: { reconnectRetries: 0, dialTimeout: KNOCK_TIMEOUT_MS },
  })
  try {
    let last: unknown
    for (const address of addresses) {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(KNOCK_TIMEOUT_MS)])
      // The dial never succeeds: once the answer is there, the connection has served its purpose.
      const dialled = host.dial(multiaddr(`${address}/p2p/${peerId}`), { signal: limit })
      await dialled.catch((error: unknown) => (last = error))
      signal.throwIfAborted()
      if (conversation.frame) return decodeAnswer(conversation.frame)
    }
    if (conversation.begun) throw new TurnedAwayError('Nobody answered.', { cause: last })
    throw new PeerUnreachableError(`Nobody answers at ${addresses.join(', ')}.`, { cause: last })
  } finally {
    await host.stop()
  }
}

class Conversation {
  readonly #payload: Uint8Array
  /** The other side speaks the protocol. */
  begun = false
  frame: Uint8Array | undefined

  constructor(payload: Uint8Array) {
    this.#payload = payload
  }

  readonly encrypter: EncrypterFactory = (components) => {
    const inner = tls()(components)
    return {
      protocol: JOIN_PROTOCOL,
      secureInbound: () => Promise.reject(new PeerUnreachableError('Nobody comes in here.')),
      secureOutbound: (connection, options) => this.#speak(inner, connection, options),
    }
  }

  async #speak(
    inner: ConnectionEncrypter,
    connection: MessageStream,
    options: Parameters<ConnectionEncrypter['secureOutbound']>[1] = {},
  ): Promise<never> {
    this.begun = true
    const secured = await inner.secureOutbound(connection, {
      ...options,
      skipStreamMuxerNegotiation: true,
    })
    const frames = framed(secured.connection, { frameBytesMax: JOIN_ANSWER_BYTES_MAX })
    await frames.write(this.#payload, options)
    this.frame = (await frames.read(options)).subarray()
    throw new PeerUnreachableError('The conversation is over.')
  }
}
