import type { IncomingHttpHeaders } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

import { errors, type Dispatcher } from 'undici'

import {
  UpstreamBrokenError,
  UpstreamRefusedError,
  UpstreamTimeoutError,
  UpstreamUnreachableError,
} from '../../../shared/errors.ts'
import type { Logger } from '../../../shared/log/log.ts'
import { BACKOFF_MS } from '../constants.ts'
import type { Route } from '../upstreams/router.ts'
import type { Upstream, UpstreamCall } from '../upstreams/upstream.ts'
import { Attempt, type AnswerSink, type AttemptResult } from './attempt.ts'
import { retryAfterMs } from './headers.ts'

/** Answers that another upstream, or the same one later, may do better. */
const RETRIED = new Set([408, 429, 500, 502, 503, 504, 529])

export interface ForwardCall extends Omit<UpstreamCall, 'model'> {
  headers: Record<string, string>
  /** For the model as this upstream calls it; called once for each attempt. */
  body: (route: Route) => Dispatcher.DispatchOptions['body']
  /** False for a body that flows through and cannot be sent again. */
  isRepeatable: boolean
}

/** What becomes of the answer that is taken. */
export interface ForwardSink extends Omit<AnswerSink, 'accepts' | 'begin'> {
  begin(status: number, headers: IncomingHttpHeaders, route: Route): void
}

export interface ForwardInit {
  attemptsMax: number
  waitMsMax: number
}

/** Told of every call of an upstream. */
export interface ForwardObserver {
  attempted(upstream: Upstream, result: string): void
}

/** Asks upstreams in turn until one answers; nobody else once the first byte has gone out. */
export class Forwarder {
  readonly #log: Logger
  readonly #observer: ForwardObserver

  constructor(components: { log: Logger; observer: ForwardObserver }) {
    this.#log = components.log
    this.#observer = components.observer
  }

  /**
   * Resolves when the answer has been handed on whole.
   * @throws UpstreamBrokenError when it began and broke; the other upstream errors when none did
   */
  async forward(
    call: ForwardCall,
    routes: readonly Route[],
    sink: ForwardSink,
    init: ForwardInit & { signal: AbortSignal },
  ): Promise<Route> {
    const { signal } = init
    // What is kept somewhere is looked for everywhere.
    const enoughMax = call.endpoint.kept ? routes.length : 1
    const attemptsMax = call.isRepeatable ? Math.max(init.attemptsMax, enoughMax) : 1
    for (let attempt = 1; ; attempt += 1) {
      signal.throwIfAborted()
      const route = routes[(attempt - 1) % routes.length]!
      const isLast = attempt >= attemptsMax
      const isLastRoute = attempt >= routes.length
      const accepts = (status: number, headers: IncomingHttpHeaders): boolean => {
        // A 404 of what is kept is no failure: the next one may keep it.
        if (status === 404 && call.endpoint.kept && !isLastRoute && !isLast) return false
        if (isUseless(status)) return false
        if (!RETRIED.has(status) || isLast) return true
        return isLastRoute && (retryAfterMs(headers) ?? 0) > init.waitMsMax
      }
      const result = await this.#attempt(call, route, { sink, accepts }, signal)
      if (result.kind === 'done') return route
      signal.throwIfAborted()
      if (result.kind === 'broken') throw brokenBy(result.error)
      const waitMs = result.kind === 'refused' ? retryAfterMs(result.headers) : null
      if (isLast || (isLastRoute && (waitMs ?? 0) > init.waitMsMax)) throw failedBy(result)
      // Neither its key nor its address will be better a moment later.
      if (result.kind === 'refused' && isUseless(result.status) && isLastRoute) {
        throw failedBy(result)
      }
      if (isLastRoute) {
        await sleep(waitMs ?? backoffMs(attempt - routes.length), undefined, { signal })
      }
    }
  }

  async #attempt(
    call: ForwardCall,
    route: Route,
    { sink, accepts }: { sink: ForwardSink } & Pick<AnswerSink, 'accepts'>,
    signal: AbortSignal,
  ): Promise<AttemptResult> {
    const { upstream } = route
    let status = 0
    const attempt = new Attempt({
      accepts: (given, headers) => {
        status = given
        return accepts(given, headers)
      },
      begin: (given, headers) => sink.begin(given, headers, route),
      data: (chunk, resume) => sink.data(chunk, resume),
      end: () => sink.end(),
    })
    const onAbort = (): void => attempt.abort(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      upstream.dispatch(
        { ...call, model: route.model },
        { headers: { ...call.headers }, body: call.body(route) },
        attempt,
      )
      const result = await attempt.result
      if (!signal.aborted) this.#judge(upstream, result, status)
      return result
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** What the result says about the upstream. */
  #judge(upstream: Upstream, result: AttemptResult, status: number): void {
    this.#observer.attempted(upstream, status === 0 ? result.kind : String(status))
    if (result.kind === 'done' && !RETRIED.has(status)) return upstream.succeeded()
    if (result.kind === 'refused' && status === 404) return
    const headers = result.kind === 'refused' ? result.headers : {}
    upstream.failed(retryAfterMs(headers))
    const { name } = upstream
    const err = 'error' in result ? result.error : undefined
    this.#log.warn({ upstream: name, status, result: result.kind, err }, 'upstream failed')
  }
}

/** Half of it is by lot, so that callers that failed together do not come back together. */
function backoffMs(round: number): number {
  const wholeMs = BACKOFF_MS * 2 ** round
  return wholeMs / 2 + Math.random() * (wholeMs / 2)
}

/** The upstream refuses its key, or leads elsewhere: only the configuration says where calls go. */
function isUseless(status: number): boolean {
  return status === 401 || (status >= 300 && status < 400)
}

function isTimeout(error: unknown): boolean {
  return (
    error instanceof errors.HeadersTimeoutError ||
    error instanceof errors.BodyTimeoutError ||
    error instanceof errors.ConnectTimeoutError
  )
}

function failedBy(result: Exclude<AttemptResult, { kind: 'done' | 'broken' }>): Error {
  if (result.kind === 'refused') {
    const { status } = result
    if (status === 401) {
      return new UpstreamRefusedError('The upstream refuses the key that the proxy has for it.')
    }
    const why = status < 400 ? ', which leads elsewhere and is not followed' : ''
    return new UpstreamUnreachableError(`The upstream answered ${status}${why}.`)
  }
  const { error: cause } = result
  if (isTimeout(cause)) {
    return new UpstreamTimeoutError('The upstream did not answer in time.', { cause })
  }
  return new UpstreamUnreachableError('The upstream cannot be reached.', { cause })
}

function brokenBy(cause: Error): Error {
  if (isTimeout(cause)) {
    return new UpstreamTimeoutError('The upstream stopped in the middle of its answer.', { cause })
  }
  return new UpstreamBrokenError('The upstream broke off its answer.', { cause })
}
