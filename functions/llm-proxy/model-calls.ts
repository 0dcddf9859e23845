import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Dispatcher } from 'undici'

import { DatabaseUnavailableError, ScopeMissingError } from '../../shared/errors.ts'
import type { ModelRequest } from './body/model-request.ts'
import { CACHED_BYTES_MAX, type ExactCache } from './cache/exact-cache.ts'
import type { Caller } from './call-scope.ts'
import type { Cost, Prices } from './cost/prices.ts'
import type { Endpoint } from './endpoints.ts'
import type { ExchangeRecorder } from './exchanges/recorder.ts'
import type { ForwardCall, Forwarder } from './forward/forwarder.ts'
import { requestHeaders } from './forward/headers.ts'
import type { Limits, Reservation } from './limits/limits.ts'
import type { CallMetrics } from './metrics.ts'
import { ModelCall } from './model-call.ts'
import type { ThreadAppender } from './thread/thread-appender.ts'
import type { Route, Router } from './upstreams/router.ts'
import { NO_USAGE, type ModelUsage } from '../../shared/llm/model-usage.ts'

/** Set aside for an answer whose length the caller does not bound. */
const OUTPUT_TOKENS_DEFAULT = 2048

export interface ModelCallsComponents {
  router: Router
  forwarder: Forwarder
  metrics: CallMetrics
  limits: Limits | null
  prices: Prices | null
  recorder: ExchangeRecorder | null
  cache: ExactCache
  /** Null where there is no database, and so no thread. */
  threads: Pick<ThreadAppender, 'add'> | null
}

/** What a route makes of a request before it is known who answers. */
export interface IncomingCall {
  endpoint: Endpoint
  caller: Caller
  /** The path below `/v1`, with checked ids in it. */
  path: string
  query: string
  /** Null where the route has no model, or its body flows through. */
  model: ModelRequest | null
  body: Dispatcher.DispatchOptions['body']
}

/**
 * The order of a call: whose it is, who can answer it, what it may use, the answer, what it did
 * use, the record of it. The caller waits for all up to the answer and for nothing after it.
 */
export class ModelCalls {
  readonly #components: ModelCallsComponents

  constructor(components: ModelCallsComponents) {
    this.#components = components
  }

  /** @throws whatever is to be answered in place of an answer of an upstream */
  async run(incoming: IncomingCall, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { router } = this.#components
    const { endpoint, caller, model } = incoming
    if (caller.thread !== null) this.#requireThreads(request)
    const routes = router.routes(model?.model ?? null)
    const call = new ModelCall({
      endpoint,
      caller,
      model: model?.model ?? null,
      request,
      reply,
      inputTokens: model?.estimateInputTokens() ?? 0,
      images: model?.images() ?? 0,
      withholdsUsage: (route) => model?.withholdsUsage(route.upstream.config.includeUsage) ?? false,
    })
    // Only what a model does is limited, priced and recorded.
    const reservation = model ? await this.#reserve(call, model, request) : null
    try {
      if (model) this.#beginRecording(call, model, request)
      await this.#answer(call, incoming, routes, request)
    } catch (error) {
      call.fail(error)
    } finally {
      this.#settle(call, reservation)
    }
    if (model) this.#append(call, model)
  }

  /** From the cache where the same was asked before, else from an upstream. */
  async #answer(
    call: ModelCall,
    incoming: IncomingCall,
    routes: readonly Route[],
    request: FastifyRequest,
  ): Promise<void> {
    const { cache } = this.#components
    const { endpoint, caller, model } = incoming
    const key = model
      ? cache.keyOf({
          project: caller.project,
          path: endpoint.path,
          bytes: model.bytes,
          control: request.headers['cache-control'] ?? '',
        })
      : null
    const known = key === null ? undefined : cache.find(key)
    if (key !== null) call.headers['bzzz-cache'] = known ? 'hit' : 'miss'
    if (known) return call.replay(known)
    if (key !== null || caller.thread !== null) call.keepAnswer(CACHED_BYTES_MAX)
    await this.#forward(call, incoming, routes, request)
    const { answer } = call
    if (key !== null && answer) cache.keep(key, answer)
  }

  /** Behind the answer, where the caller names a thread. */
  #append(call: ModelCall, model: ModelRequest): void {
    const { caller, endpoint } = call.init
    if (caller.thread === null || endpoint.answer === 'other') return
    const { answer } = call
    if (!answer) return this.#components.metrics.appended('dropped')
    this.#components.threads?.add({
      thread: caller.thread,
      token: caller.token,
      author: caller.subject,
      requestBody: model.bytes,
      answer,
      exchange: call.recording?.address ?? null,
    })
  }

  /** Said before anything is asked, or the messages would be lost behind a good answer. */
  #requireThreads(request: FastifyRequest): void {
    if (!this.#components.threads) {
      throw new DatabaseUnavailableError('Threads need PostgreSQL, and there is none here.')
    }
    if (!request.claims?.scopes.includes('thread:write')) {
      throw new ScopeMissingError('The token lacks the scope thread:write for bzzz-thread.')
    }
  }

  async #reserve(
    call: ModelCall,
    model: ModelRequest,
    request: FastifyRequest,
  ): Promise<Reservation | null> {
    const { limits, prices } = this.#components
    if (!limits) return null
    const { inputTokens, images } = call.init
    const outputTokensMax = model.outputTokensMax() ?? OUTPUT_TOKENS_DEFAULT
    const most = { ...NO_USAGE, inputTokens, outputTokens: outputTokensMax, images }
    const costNanoUsd = prices?.cost(model.model ?? '', most).nanoUsd ?? 0n
    const reservation = await limits.reserve(
      { ...scopeOf(call.init.caller), model: model.model ?? '' },
      { inputTokens, outputTokensMax, costNanoUsd },
      request.abandoned,
    )
    Object.assign(call.headers, reservation.headers)
    return reservation
  }

  #beginRecording(call: ModelCall, model: ModelRequest, request: FastifyRequest): void {
    const { recorder } = this.#components
    if (!recorder) return
    const { caller, endpoint } = call.init
    call.recording = recorder.begin({
      scope: { ...scopeOf(caller), model: model.model ?? '' },
      token: caller.token,
      method: endpoint.method,
      path: `/v1${endpoint.path}`,
      requestBody: model.bytes,
      requestMediaType: request.headers['content-type'] ?? '',
    })
    const { address } = call.recording
    if (address !== null) call.headers['bzzz-exchange'] = address
  }

  async #forward(
    call: ModelCall,
    { endpoint, path, query, model, body }: IncomingCall,
    routes: readonly Route[],
    request: FastifyRequest,
  ): Promise<void> {
    const { forwarder, router } = this.#components
    const { attempts: attemptsMax, waitMax: waitMsMax } = router.config.retries
    const forwarded: ForwardCall = {
      endpoint,
      path,
      query,
      token: call.init.caller.token,
      headers: requestHeaders(request.headers),
      isRepeatable: endpoint.body !== 'stream',
      body: ({ upstream, model: name }) => {
        call.dispatched()
        if (!model) return body
        const known = name === null ? null : upstream.nameOf(name)
        return model.bytesFor(known, upstream.config.includeUsage)
      },
    }
    const length = request.headers['content-length']
    if (endpoint.body === 'stream' && length !== undefined) {
      forwarded.headers['content-length'] = length
    }
    const signal = request.abandoned
    await forwarder.forward(forwarded, routes, call, { attemptsMax, waitMsMax, signal })
  }

  #settle(call: ModelCall, reservation: Reservation | null): void {
    const { metrics } = this.#components
    const { usage, isBilled, init } = call
    const { cost, pricedAs } = this.#costOf(call, usage)
    if (isBilled) reservation?.settle(usage, cost?.nanoUsd ?? 0n)
    else reservation?.release()
    call.record(usage, cost, pricedAs)
    const { firstByteMs, totalMs, overheadMs } = call.timings
    metrics.observe({
      operation: init.endpoint.operation,
      upstream: call.upstream,
      model: init.model ?? '',
      status: call.status,
      outcome: call.outcome,
      stream: call.mediaType.startsWith('text/event-stream'),
      cached: call.cached !== null,
      usage,
      nanoUsd: cost?.nanoUsd ?? 0n,
      totalMs,
      firstByteMs,
      overheadMs,
    })
  }

  /** By the first of the model's names that has a price. */
  #costOf(call: ModelCall, usage: ModelUsage): { cost: Cost | null; pricedAs: string | null } {
    const { prices } = this.#components
    const isPriced = prices && call.isBilled && call.init.model !== null
    let cost: Cost | null = null
    for (const name of isPriced ? call.modelNames : []) {
      cost = prices!.cost(name, usage, call.upstream)
      if (cost.priced) return { cost, pricedAs: name }
    }
    return { cost, pricedAs: null }
  }
}

function scopeOf({ tokenId, subject, project, agent }: Caller) {
  return { tokenId, subject, project, agent }
}
