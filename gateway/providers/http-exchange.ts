import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerResponse } from 'node:http'

import { errors, type Dispatcher } from 'undici'

import {
  CallerLeftError,
  FunctionTimeoutError,
  FunctionUnreachableError,
  ShuttingDownError,
} from '../../shared/errors.ts'
import { HOP_BY_HOP } from '../../shared/http/hop-by-hop.ts'
import type { Logger } from '../../shared/log/log.ts'
import { answerError } from '../proxy/answer-error.ts'

type Controller = Dispatcher.DispatchController

/** Headers of an answer that concern the connection to the function alone. */
const DROPPED = new Set(HOP_BY_HOP)

/**
 * The answer of a function on its way to the caller, piece by piece: what the caller does not read
 * is not read from the function either. An answer that breaks off is cut, so that it does not look
 * whole.
 */
export class HTTPExchange implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse
  readonly #log: Logger
  #controller: Controller | null = null
  #ended = false

  constructor(response: ServerResponse, log: Logger) {
    this.#response = response
    this.#log = log
  }

  /** The caller is gone, or has it all; in the first case the function is told to stop. */
  abandon(): void {
    if (!this.#ended) this.#controller?.abort(new CallerLeftError('The caller left.'))
  }

  onRequestStart(controller: Controller): void {
    this.#controller = controller
    // It may have waited for a connection for longer than its caller did.
    if (this.#response.destroyed) this.abandon()
  }

  onResponseStart(_controller: Controller, status: number, headers: IncomingHttpHeaders): void {
    // Early hints and the like concern this hop; the answer itself is yet to come.
    if (status < 200) return
    const response = this.#response
    // One write for all that arrived together: a short answer as a rule, head and body and end.
    response.cork()
    queueMicrotask(() => response.uncork())
    response.writeHead(status, passedBack(headers))
    // Whoever waits for events sees that the stream is open before the first one.
    response.flushHeaders()
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    if (this.#response.write(chunk)) return
    controller.pause()
    this.#response.once('drain', () => controller.resume())
  }

  onResponseEnd(): void {
    this.#ended = true
    this.#response.end()
  }

  onResponseError(_controller: Controller, error: Error): void {
    this.#ended = true
    const response = this.#response
    if (response.destroyed) return
    const known = errorOf(error)
    const detail = { err: error, begun: response.headersSent }
    this.#log.warn(detail, 'function did not answer to the end')
    answerError(response, response.req.headers['x-call-id'], known)
  }
}

function errorOf(error: Error): Error {
  if (error instanceof ShuttingDownError) return error
  if (error instanceof errors.HeadersTimeoutError) {
    return new FunctionTimeoutError('The function took longer than the gateway waits.', {
      cause: error,
    })
  }
  return new FunctionUnreachableError('The function cannot be reached.', { cause: error })
}

function passedBack(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const passed: OutgoingHttpHeaders = {}
  const named = headers.connection?.toLowerCase() ?? ''
  for (const name in headers) {
    if (DROPPED.has(name) || (named.includes(name) && isNamed(named, name))) continue
    passed[name] = headers[name]
  }
  return passed
}

function isNamed(connection: string, name: string): boolean {
  return connection.split(',').some((option) => option.trim() === name)
}
