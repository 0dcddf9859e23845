import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { PassThrough, type Readable } from 'node:stream'

import { Pool } from 'undici'

import { OverloadedError, ShuttingDownError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import {
  CONNECTION_LIFE_MS,
  NAMESPACE,
  REPLICA_LOOK_TIMEOUT_MS,
  UPSTREAM_CONNECTIONS_MAX,
  UPSTREAM_RETRY_SECONDS,
} from '../constants.ts'
import type { Deployment } from '../deployments/deployment.ts'
import { HTTPExchange } from './http-exchange.ts'
import type { DeployedFunction, FunctionDetails } from './provider.ts'

/** Headers that this hop sets itself, or that undici refuses to pass on. */
const OWN_HEADERS = new Set(['host', 'expect', 'transfer-encoding', 'http2-settings'])

/** One function at its address, over kept connections. */
export class HTTPFunction implements DeployedFunction {
  readonly #log: Logger
  readonly #details: FunctionDetails
  readonly #pool: Pool
  #availableReplicas = 0
  #inFlight = 0

  constructor(
    { log }: { log: Logger },
    init: { deployment: Deployment; origin: string; timeoutMs: number },
  ) {
    this.#log = log
    const { lang: _lang, handler: _handler, port: _port, ...told } = init.deployment
    this.#details = { ...told, namespace: NAMESPACE, availableReplicas: 0 }
    this.#pool = new Pool(init.origin, {
      connections: UPSTREAM_CONNECTIONS_MAX,
      // A name stands for many replicas, and each connection stays with one of them.
      clientTtl: CONNECTION_LIFE_MS,
      headersTimeout: init.timeoutMs,
      // A stream may be silent for long. What ends it is the function, or its caller.
      bodyTimeout: 0,
    })
  }

  details(): FunctionDetails {
    return { ...this.#details, availableReplicas: this.#availableReplicas }
  }

  dispatch(request: IncomingMessage, response: ServerResponse): void {
    // Above it the pool would queue without a bound.
    if (this.#inFlight >= UPSTREAM_CONNECTIONS_MAX) {
      const message = `More than ${UPSTREAM_CONNECTIONS_MAX} calls are in flight.`
      throw new OverloadedError(message, UPSTREAM_RETRY_SECONDS)
    }
    const exchange = new HTTPExchange(response, this.#log)
    this.#inFlight += 1
    response.once('close', () => {
      this.#inFlight -= 1
      exchange.abandon()
    })
    this.#pool.dispatch(
      {
        method: (request.method ?? 'GET') as 'GET',
        path: request.url ?? '/',
        headers: passedOn(request.headers),
        body: bodyOf(request),
      },
      exchange,
    )
  }

  /** Asks whether the function is ready. Calls are passed on whatever it says. */
  async look(): Promise<void> {
    try {
      const signal = AbortSignal.timeout(REPLICA_LOOK_TIMEOUT_MS)
      const answer = await this.#pool.request({ method: 'GET', path: '/_/ready', signal })
      await answer.body.dump()
      this.#availableReplicas = answer.statusCode === 200 ? 1 : 0
    } catch {
      this.#availableReplicas = 0
    }
  }

  /** Waits for what is in flight; what is not done in time is cut. */
  async stop(drainTimeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, drainTimeoutMs)
    })
    await Promise.race([this.#pool.close(), late])
    clearTimeout(timer)
    await this.#pool.destroy(new ShuttingDownError('The gateway is shutting down.'))
  }
}

function passedOn(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  const passed: Record<string, string | string[]> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value !== undefined && !OWN_HEADERS.has(name)) passed[name] = value
  }
  return passed
}

/**
 * The upload as the function reads it, nothing of it kept here. It is a stream of its own because
 * a function may answer before it has read all: then the rest is read and dropped, so that the
 * caller gets the answer instead of a closed connection.
 */
function bodyOf(request: IncomingMessage): Readable | null {
  const { headers } = request
  const length = headers['content-length']
  if (headers['transfer-encoding'] === undefined && (length === undefined || length === '0')) {
    return null
  }
  const body = new PassThrough()
  request.pipe(body)
  request.once('error', (error) => body.destroy(error))
  body.once('error', () => undefined)
  body.once('close', () => {
    request.unpipe(body)
    request.resume()
  })
  return body
}
