import type { FastifyInstance } from 'fastify'

import { FunctionTimeoutError, OverloadedError, ShuttingDownError } from '../errors.ts'
import { STATUS_CALLER_LEFT } from '../http/wire-error.ts'
import {
  Counter,
  DURATION_BUCKETS_SECONDS,
  Gauge,
  Histogram,
  type Registry,
} from '../metrics/metrics.ts'
import { CUT_FLUSH_MS, OVERLOADED_RETRY_SECONDS } from './constants.ts'
import { Flight } from './flight.ts'

declare module 'fastify' {
  interface FastifyRequest {
    flight: Flight | null
  }
}

function createMetrics(registry: Registry) {
  const registers = [registry]
  return {
    duration: new Histogram({
      name: 'bzzz_function_request_seconds',
      help: 'Time from the first byte of a request to the last byte of its answer',
      labelNames: ['method', 'route', 'status'],
      buckets: DURATION_BUCKETS_SECONDS,
      registers,
    }),
    timeouts: new Counter({
      name: 'bzzz_function_timeouts_total',
      help: 'Requests ended by the time-out: answered with 504, or cut when the answer had begun',
      labelNames: ['end'],
      registers,
    }),
  }
}

/** The requests of one function: how many at once, how long each, and how they end. */
export class Admission {
  readonly #maxInFlight: number
  readonly #execTimeoutMs: number
  readonly #metrics: ReturnType<typeof createMetrics>
  readonly #flights = new Set<Flight>()
  #onEmpty: (() => void) | null = null

  constructor(
    { registry }: { registry: Registry },
    init: { maxInFlight: number; execTimeoutMs: number },
  ) {
    this.#maxInFlight = init.maxInFlight
    this.#execTimeoutMs = init.execTimeoutMs
    this.#metrics = createMetrics(registry)
    const inFlight: Gauge = new Gauge({
      name: 'bzzz_function_in_flight',
      help: 'Requests admitted and not yet answered to the end',
      registers: [registry],
      collect: () => inFlight.set(this.#flights.size),
    })
  }

  /** Guards the routes registered on `app` and below it from here on. */
  guard(app: FastifyInstance): void {
    app.decorateRequest('flight', null)
    app.decorateRequest('abandoned', {
      getter() {
        if (!this.flight) throw new Error('The request was not admitted.')
        return this.flight.signal
      },
    })
    app.addHook('onRequest', (request, reply, done) => {
      const { config, url } = request.routeOptions
      const startedAt = performance.now()
      let flight: Flight | null = null
      if (this.#flights.size < this.#maxInFlight) {
        flight = new Flight(request, reply, {
          timeoutMs: config.execTimeoutMs ?? this.#execTimeoutMs,
          onTimeout: (late) => this.#timeOut(late),
        })
        request.flight = flight
        this.#flights.add(flight)
      }
      reply.raw.on('close', () => {
        const { raw } = reply
        if (flight) this.#land(flight, raw.writableFinished)
        const status = raw.headersSent ? raw.statusCode : STATUS_CALLER_LEFT
        const labels = { method: request.method, route: url ?? 'none', status }
        this.#metrics.duration.observe(labels, (performance.now() - startedAt) / 1000)
      })
      if (flight) return done()
      const message = `More than ${this.#maxInFlight} requests are in flight.`
      done(new OverloadedError(message, OVERLOADED_RETRY_SECONDS))
    })
  }

  /** Waits for what is in flight; what is not done after `timeoutMs` is failed, not left. */
  async drain(timeoutMs: number): Promise<void> {
    if (await this.#emptyWithin(timeoutMs)) return
    const error = new ShuttingDownError('The function is shutting down.')
    for (const flight of this.#flights) flight.fail(error)
    await this.#emptyWithin(CUT_FLUSH_MS)
  }

  async #emptyWithin(timeoutMs: number): Promise<boolean> {
    if (this.#flights.size === 0) return true
    let timer: NodeJS.Timeout | undefined
    const empty = await new Promise<boolean>((resolve) => {
      this.#onEmpty = () => resolve(true)
      timer = setTimeout(() => resolve(false), timeoutMs)
    })
    clearTimeout(timer)
    this.#onEmpty = null
    return empty
  }

  #land(flight: Flight, whole: boolean): void {
    flight.land(whole)
    this.#flights.delete(flight)
    if (this.#flights.size === 0) this.#onEmpty?.()
  }

  #timeOut(flight: Flight): void {
    const begun = flight.reply.raw.headersSent
    this.#metrics.timeouts.inc({ end: begun ? 'cut' : 'answered' })
    const { id, routeOptions, log } = flight.request
    if (begun) log.warn({ requestId: id, url: routeOptions.url }, 'stream cut')
    flight.fail(new FunctionTimeoutError('The function took longer than its time-out allows.'))
  }
}
