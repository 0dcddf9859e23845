import type { IncomingHttpHeaders } from 'node:http'

import type { FastifyReply, FastifyRequest } from 'fastify'

import { CallerLeftError, UpstreamBrokenError } from '../../shared/errors.ts'
import { toWireError } from '../../shared/http/wire-error.ts'
import { createAnswerReader, type AnswerReader } from './answer/answer-reader.ts'
import { estimateUsage } from './answer/usage.ts'
import type { CachedAnswer } from './cache/exact-cache.ts'
import type { Caller } from './call-scope.ts'
import type { Cost } from './cost/prices.ts'
import type { Endpoint } from './endpoints.ts'
import type { ExchangeRecording } from './exchanges/recorder.ts'
import type { ForwardSink } from './forward/forwarder.ts'
import { answerHeaders } from './forward/headers.ts'
import { Relay } from './forward/relay.ts'
import type { CallOutcome } from './metrics.ts'
import { toOpenAIError } from './openai-error.ts'
import type { Route } from './upstreams/router.ts'
import { NO_USAGE, type ModelUsage } from '../../shared/llm/model-usage.ts'

export interface ModelCallInit {
  endpoint: Endpoint
  caller: Caller
  model: string | null
  request: FastifyRequest
  reply: FastifyReply
  /** Tokens of the request and pictures that it asks for, where the upstream does not tell. */
  inputTokens: number
  images: number
  /** Whether a chunk of usage is asked for in the caller's name. */
  withholdsUsage: (route: Route) => boolean
}

/** One call on its way: what its answer is, when it came, what it used. */
export class ModelCall implements ForwardSink {
  readonly init: ModelCallInit
  readonly relay: Relay
  readonly startedMs = performance.now()
  /** What every answer to it carries; steps before the first byte add to it. */
  readonly headers: Record<string, string>
  recording: ExchangeRecording | null = null
  outcome: CallOutcome = 'failed'
  status = 0
  /** Given from the cache: nobody was asked, and nothing was used. */
  cached: CachedAnswer | null = null
  #kept: Buffer[] | null = null
  #keptBytesMax = 0
  #reader: AnswerReader | null = null
  #mediaType = ''
  #route: Route | null = null
  #servedBy: string | null = null
  #isDelimited = true
  #dispatchedMs = 0
  #upstreamByteMs = 0
  #overheadMs: number | null = null

  constructor(init: ModelCallInit) {
    this.init = init
    this.relay = new Relay(init.reply.raw)
    this.headers = { 'request-id': init.request.id }
  }

  get upstream(): string {
    return this.cached?.upstream ?? this.#route?.upstream.name ?? ''
  }

  /** The node that served a shared model; null for an upstream of the configuration. */
  get servedBy(): string | null {
    return this.#servedBy
  }

  /** As served, else as asked for. */
  get model(): string {
    return this.modelNames[0] ?? ''
  }

  /** As the upstream calls it, as the configuration does, as the caller does. */
  get modelNames(): string[] {
    const names = [this.cached?.model, this.#reader?.model, this.#route?.model, this.init.model]
    return [...new Set(names.filter((name) => typeof name === 'string'))]
  }

  get mediaType(): string {
    return this.#mediaType
  }

  /** Whether the upstream did any work that it will want paid. */
  get isBilled(): boolean {
    return this.relay.begun && this.status < 400 && !this.cached
  }

  get usage(): ModelUsage {
    if (!this.isBilled) return NO_USAGE
    const reader = this.#reader!
    return reader.usage ?? estimateUsage(this.init, reader.textBytes)
  }

  get timings(): { firstByteMs: number | null; totalMs: number; overheadMs: number | null } {
    const { firstByteMs } = this.relay
    return {
      firstByteMs: firstByteMs === null ? null : firstByteMs - this.startedMs,
      totalMs: performance.now() - this.startedMs,
      overheadMs: this.#overheadMs,
    }
  }

  /** The whole answer as the caller got it; null where there is none, or one that is too long. */
  get answer(): CachedAnswer | null {
    if (this.cached) return this.cached
    if (!this.#kept || this.outcome !== 'complete' || this.status !== 200) return null
    const { model, upstream } = this
    return { mediaType: this.#mediaType, bytes: Buffer.concat(this.#kept), upstream, model }
  }

  /** Called before the answer begins: keeps it beside passing it on, up to a length. */
  keepAnswer(bytesMax: number): void {
    this.#kept = []
    this.#keptBytesMax = bytesMax
  }

  /** Gives an answer again, byte for byte. */
  replay(answer: CachedAnswer): void {
    this.cached = answer
    this.status = 200
    this.#mediaType = answer.mediaType
    this.headers['bzzz-upstream'] = answer.upstream
    this.init.reply.hijack()
    this.relay.begin(this.status, { ...this.headers, 'content-type': answer.mediaType })
    this.recording?.chunk(answer.bytes)
    this.relay.write(answer.bytes)
    this.relay.end()
    this.outcome = 'complete'
  }

  /** A request leaves for an upstream. */
  dispatched(): void {
    this.#dispatchedMs = performance.now()
  }

  begin(status: number, headers: IncomingHttpHeaders, route: Route): void {
    const { endpoint, reply } = this.init
    this.#upstreamByteMs = performance.now()
    this.#route = route
    this.status = status
    this.#mediaType = headers['content-type'] ?? ''
    this.#isDelimited =
      headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined
    const withhold = status < 400 && this.init.withholdsUsage(route)
    this.#reader = createAnswerReader(this.#mediaType, { answer: endpoint.answer, withhold })
    this.headers['bzzz-upstream'] = route.upstream.name
    const isMesh = route.upstream.config.type === 'mesh'
    const given = answerHeaders(headers, this.headers, { isMesh, keepsLength: !withhold })
    if (isMesh) this.#servedBy = String(headers['bzzz-served-by'] ?? '')
    reply.hijack()
    this.relay.begin(status, given)
  }

  data(chunk: Buffer, resume: () => void): boolean {
    const passed = this.#reader!.push(chunk)
    return passed === null || this.#write(passed, resume)
  }

  end(): void {
    const reader = this.#reader!
    const held = reader.end()
    if (held) this.#write(held, () => undefined)
    // Without a length, only the answer itself can tell a whole one from one that was cut.
    if (!this.#isDelimited && reader.isComplete === false) {
      throw new UpstreamBrokenError('The connection ended before the answer did.')
    }
    this.relay.end()
    this.outcome = 'complete'
  }

  /** The answer has no end. @throws the error again where no answer has begun */
  fail(error: unknown): void {
    const { request, reply } = this.init
    const { aborted, reason } = request.abandoned
    if (aborted && reason instanceof CallerLeftError) this.outcome = 'aborted'
    else if (this.relay.begun) this.outcome = 'cut'
    if (!this.relay.begun) {
      this.status = toWireError(error, request.id).status
      reply.headers(this.headers)
      throw error
    }
    if (this.outcome === 'cut') {
      request.log.warn({ err: error, upstream: this.upstream, requestId: request.id }, 'answer cut')
    }
    // Whoever aborted the request ends its answer as well.
    if (!aborted) this.relay.break(toOpenAIError(toWireError(error, request.id)))
  }

  /** Tells the recorder how it ended. `pricedAs`: which of its names has the price. */
  record(usage: ModelUsage, cost: Cost | null, pricedAs: string | null): void {
    const { firstByteMs, totalMs } = this.timings
    // The cost must follow from what is kept: one of two names, and an alias is the other one.
    const isServed = pricedAs !== null && pricedAs !== this.init.model
    this.recording?.end({
      status: this.status,
      mediaType: this.#mediaType,
      outcome: this.outcome,
      model: isServed ? pricedAs : this.model,
      usage: this.isBilled ? usage : null,
      cost,
      upstream: this.upstream,
      peer: this.#servedBy,
      cached: this.cached !== null,
      timings: { firstByteMs, totalMs },
    })
  }

  #keep(chunk: Buffer): void {
    if (!this.#kept) return
    this.#keptBytesMax -= chunk.length
    if (this.#keptBytesMax < 0) this.#kept = null
    else this.#kept.push(chunk)
  }

  #write(chunk: Buffer, resume: () => void): boolean {
    this.recording?.chunk(chunk)
    this.#keep(chunk)
    const goesOn = this.relay.write(chunk)
    if (this.#overheadMs === null) {
      const before = this.#dispatchedMs - this.startedMs
      this.#overheadMs = before + (performance.now() - this.#upstreamByteMs)
    }
    if (!goesOn) this.relay.onDrain(resume)
    return goesOn
  }
}
