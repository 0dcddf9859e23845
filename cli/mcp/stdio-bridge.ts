import { addAbortSignal, type Readable, type Writable } from 'node:stream'

import { ReadBuffer, serializeMessage, type JSONRPCMessage } from '@modelcontextprotocol/server'

import { RemoteError } from '../../shared/errors.ts'
import type { HTTPEndpoint, Message } from './http-endpoint.ts'

/** Messages under way at once; a program that sends more waits for answers first. */
const IN_FLIGHT_MAX = 64

/** Of JSON-RPC: the server cannot be reached, or refused before it read the message. */
const REFUSED = -32_000
const INTERNAL = -32_603
const PARSE_ERROR = -32_700

/** One message: the largest content a tool takes, in base64. A longer one ends the command. */
const MESSAGE_BYTES_MAX = 4 * 1024 * 1024

export interface StdioBridgeComponents {
  endpoint: Pick<HTTPEndpoint, 'send'>
  stdin: Readable
  stdout: Writable
}

/**
 * Carries messages between a program that speaks over our standard streams and the endpoint that
 * runs in the cluster. What the caller may do, what is counted and what is written down is decided
 * there, as for everybody else.
 */
export class StdioBridge {
  readonly #endpoint: Pick<HTTPEndpoint, 'send'>
  readonly #stdin: Readable
  readonly #stdout: Writable
  readonly #inFlight = new Map<unknown, AbortController>()
  readonly #work = new Set<Promise<void>>()

  constructor({ endpoint, stdin, stdout }: StdioBridgeComponents) {
    this.#endpoint = endpoint
    this.#stdin = stdin
    this.#stdout = stdout
  }

  /** Until the program closes its end, and what it still asked for is answered, or the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const buffer = new ReadBuffer({ maxBufferSize: MESSAGE_BYTES_MAX })
    const input = addAbortSignal(signal, this.#stdin) as AsyncIterable<Buffer>
    for await (const chunk of input) {
      buffer.append(chunk)
      for (let message = this.#next(buffer); message; message = this.#next(buffer)) {
        this.#take(message, signal)
        while (this.#work.size >= IN_FLIGHT_MAX) await Promise.race(this.#work)
      }
    }
    await Promise.all(this.#work)
  }

  /** A line that is no message is answered, and the next one read. */
  #next(buffer: ReadBuffer): JSONRPCMessage | null {
    for (;;) {
      try {
        return buffer.readMessage()
      } catch {
        this.#say(null, PARSE_ERROR, 'That line is no message.')
      }
    }
  }

  #take(message: JSONRPCMessage, signal: AbortSignal): void {
    const { method, params } = message as { method?: string; params?: { requestId?: unknown } }
    if (method === 'notifications/cancelled') {
      this.#inFlight.get(params?.requestId)?.abort()
      return
    }
    const done = this.#carry(message as Message, signal).finally(() => this.#work.delete(done))
    this.#work.add(done)
  }

  async #carry(message: Message, signal: AbortSignal): Promise<void> {
    const { id } = message
    const cancelling = new AbortController()
    if (id !== undefined) this.#inFlight.set(id, cancelling)
    const either = AbortSignal.any([signal, cancelling.signal])
    let isAnswered = id === undefined
    try {
      for await (const answer of this.#endpoint.send(message, either)) {
        isAnswered ||= (answer as Message).id === id
        this.#stdout.write(serializeMessage(answer as JSONRPCMessage))
      }
      if (!isAnswered) this.#say(id, INTERNAL, 'The answer was cut off.')
    } catch (error) {
      // Nobody waits for what was cancelled, nor for the answer to a notification.
      if (either.aborted || id === undefined) return
      const isRefused = error instanceof RemoteError && error.status < 500
      this.#say(id, isRefused ? REFUSED : INTERNAL, textOf(error))
    } finally {
      if (this.#inFlight.get(id) === cancelling) this.#inFlight.delete(id)
    }
  }

  #say(id: unknown, code: number, message: string): void {
    const answer = { jsonrpc: '2.0', id, error: { code, message } }
    this.#stdout.write(serializeMessage(answer as JSONRPCMessage))
  }
}

function textOf(error: unknown): string {
  if (error instanceof RemoteError) return `${error.code}: ${error.message}`
  return error instanceof Error ? error.message : String(error)
}
