import type { Stream } from '@libp2p/interface'

import { BodyTooLargeError, OverloadedError, ProtocolViolationError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import { isViolation } from '../mesh/framing.ts'
import type { StreamHost } from '../mesh/stream-host.ts'
import {
  CALLS_PER_PEER_MAX,
  MODEL_PROTOCOL,
  REQUEST_BYTES_MAX,
  REQUEST_TIMEOUT_MS,
  REQUESTS_BYTES_MAX,
} from './constants.ts'
import { ModelChannel } from './model-channel.ts'
import { requestHeadSchema, type ModelService } from './model-exchange.ts'

export interface ModelServerComponents {
  streams: Pick<StreamHost, 'handleStream'>
  serve: ModelService
  log: Logger
}

/** Answers calls of peers. Construct it before the mesh starts. */
export class ModelServer {
  readonly #components: ModelServerComponents
  #heldBytes = 0

  constructor(components: ModelServerComponents) {
    this.#components = components
    components.streams.handleStream(MODEL_PROTOCOL, (stream) => this.#answer(stream), {
      inboundMax: CALLS_PER_PEER_MAX,
    })
  }

  async #answer(stream: Stream): Promise<void> {
    const channel = new ModelChannel(stream)
    const gone = new AbortController()
    // A caller that leaves closes its stream: the call of the own server ends with it.
    channel.onClose(() => gone.abort(new Error('The peer left.')))
    const { signal } = gone
    try {
      await this.#exchange(channel, signal)
      channel.close()
    } catch (error) {
      this.#components.log.debug({ err: error }, 'call of a shared model failed')
      await channel.sendError(error, signal).catch(() => undefined)
      // What came right before the end may be read only now.
      const reason = signal.aborted ? ((await channel.violation()) ?? error) : error
      // The mesh counts it and resets the stream.
      if (isViolation(reason)) throw reason
      channel.close()
    }
  }

  async #exchange(channel: ModelChannel, signal: AbortSignal): Promise<void> {
    const patience = AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)])
    const parsed = requestHeadSchema.safeParse(await channel.readHead(patience))
    if (!parsed.success) throw new ProtocolViolationError('The head of the call is none.')
    const held = { bytes: 0 }
    try {
      const body = await this.#receive(channel, held, patience)
      const answer = await this.#components.serve(parsed.data, body, signal)
      const { status, headers } = answer
      await channel.sendHead({ status, headers }, signal)
      for await (const chunk of answer.body) await channel.send(chunk, signal)
      await channel.end(signal)
    } finally {
      this.#heldBytes -= held.bytes
    }
  }

  async #receive(
    channel: ModelChannel,
    held: { bytes: number },
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const pieces: Uint8Array[] = []
    for await (const piece of channel.body(signal)) {
      held.bytes += piece.length
      this.#heldBytes += piece.length
      if (held.bytes > REQUEST_BYTES_MAX) {
        throw new BodyTooLargeError(`The body is larger than ${REQUEST_BYTES_MAX} bytes.`)
      }
      if (this.#heldBytes > REQUESTS_BYTES_MAX) {
        throw new OverloadedError('The bodies of other calls take all memory.', 1)
      }
      pieces.push(piece)
    }
    return Buffer.concat(pieces)
  }
}
