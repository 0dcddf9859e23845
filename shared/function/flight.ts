import type { FastifyReply, FastifyRequest } from 'fastify'

import { CallerLeftError } from '../errors.ts'
import { toWireError, type WireError } from '../http/wire-error.ts'
import { CUT_FLUSH_MS } from './constants.ts'

/** One request between its admission and the end of its answer. */
export class Flight {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly #onTimeout: (flight: Flight) => void
  #controller: AbortController | null = null
  #failure: Error | null = null
  #timer: NodeJS.Timeout | undefined

  constructor(
    request: FastifyRequest,
    reply: FastifyReply,
    init: { timeoutMs: number; onTimeout: (flight: Flight) => void },
  ) {
    this.request = request
    this.reply = reply
    this.#onTimeout = init.onTimeout
    if (init.timeoutMs > 0) {
      this.#timer = setTimeout(() => this.#onTimeout(this), init.timeoutMs)
    }
  }

  /** Made on first use: most requests never look at it. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#failure) this.#controller.abort(this.#failure)
    return this.#controller.signal
  }

  /** The answer has ended; `whole` tells whether the caller got all of it. */
  land(whole: boolean): void {
    clearTimeout(this.#timer)
    if (!whole) this.#abandon(new CallerLeftError('The caller left.'))
  }

  /**
   * Ends the request with `error`: as an answer while none has begun, else by cutting the stream,
   * so that it does not look whole.
   */
  fail(error: Error): void {
    clearTimeout(this.#timer)
    // A handler may answer from its abort listener; then there is nothing left to do.
    this.#abandon(error)
    const { raw } = this.reply
    if (raw.writableEnded || raw.destroyed) return
    if (raw.headersSent) cut(this.reply, error)
    else if (this.reply.sent) answerRaw(this.reply, error)
    else void this.reply.send(error)
  }

  #abandon(reason: Error): void {
    this.#failure ??= reason
    this.#controller?.abort(reason)
  }
}

/** A hijacked reply is out of Fastify's hands, so the wire error is written by hand. */
function answerRaw({ raw, request }: FastifyReply, error: Error): void {
  const wire = toWireError(error, request.id)
  raw.writeHead(wire.status, { ...wire.headers, 'content-type': 'application/json' })
  raw.end(JSON.stringify(bodyOf(request, wire)))
}

function bodyOf({ routeOptions }: FastifyRequest, wire: WireError): object {
  return routeOptions.config.errorBody?.(wire) ?? wire.body
}

/**
 * Breaks off a stream that has begun. The last chunk of the transfer encoding is never sent, so
 * every client sees an error. A reader of events is told why first; if the stream stood in the
 * middle of an event, that event is swallowed by the error and cannot pass for a whole one.
 */
function cut({ raw, request }: FastifyReply, error: Error): void {
  const isEvents = String(raw.getHeader('content-type')).startsWith('text/event-stream')
  if (!isEvents || raw.hasHeader('content-encoding')) {
    raw.destroy()
    return
  }
  const body = bodyOf(request, toWireError(error, request.id))
  const timer = setTimeout(() => raw.destroy(), CUT_FLUSH_MS)
  raw.write(`\nevent: error\ndata: ${JSON.stringify(body)}\n\n`, () => {
    clearTimeout(timer)
    raw.destroy()
  })
}
