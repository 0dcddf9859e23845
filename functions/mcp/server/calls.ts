import {
  ProtocolError,
  ProtocolErrorCode,
  ResourceNotFoundError,
  type CallToolResult,
  type CompleteRequestParams,
  type CompleteResult,
  type GetPromptRequestParams,
  type GetPromptResult,
  type InputRequiredResult,
  type ReadResourceResult,
  type ServerContext,
} from '@modelcontextprotocol/server'

import type { Auditor } from '../../../shared/auth/audited.ts'
import { hashArguments } from '../../../shared/audit/audit-entry.ts'
import { InvalidRequestError, OverloadedError, ScopeMissingError } from '../../../shared/errors.ts'
import type { Logger } from '../../../shared/log/log.ts'
import type { RateLimit } from '../access/rate-limit.ts'
import type { Asked, Surface } from '../access/surface.ts'
import { ARGUMENT_ELEMENTS_MAX, COMPLETIONS_MAX } from '../constants.ts'
import type { Era, McpMetrics, Outcome } from '../metrics.ts'
import type { Call, Services } from '../services.ts'
import { hasMoreElements } from '../tools/arguments.ts'
import { toFailure } from '../tools/failure.ts'
import { toCall, type Exchange } from './exchange.ts'

export interface CallsComponents {
  surface: Surface
  services: Services
  rateLimit: RateLimit
  metrics: McpMetrics
  log: Logger
  audit?: Auditor | undefined
}

/** What is written down of a call. */
interface Recorded {
  asked: Asked
  resource: string
  args: unknown
  status: number
}

/** What every call goes through: scope, rate, the work, and what is written down of it. */
export class Calls {
  readonly #components: CallsComponents
  readonly #callsPerMinuteMax: number

  constructor(components: CallsComponents, init: { callsPerMinuteMax: number }) {
    this.#components = components
    this.#callsPerMinuteMax = init.callsPerMinuteMax
  }

  /** Faults of the arguments and of the work are results, which a model can read. */
  async callTool(
    exchange: Exchange,
    era: Era,
    { name, arguments: args }: { name: string; arguments?: unknown },
    context: ServerContext,
  ): Promise<CallToolResult | InputRequiredResult> {
    const { surface } = this.#components
    const asked = surface.asked('tools/call', { name })!
    const tool = exchange.view.tools.get(name)
    try {
      return await this.#guarded(exchange, era, asked, { resource: name, args }, async () => {
        if (!tool) throw this.#notVisible(name)
        await this.#checkRate(exchange, name, tool.callsPerMinuteMax)
        return tool.call(args, this.#call(exchange, context), context)
      })
    } catch (error) {
      if (error instanceof ProtocolError) throw error
      return toFailure(error, exchange.caller.requestId).result
    }
  }

  async readResource(
    exchange: Exchange,
    era: Era,
    uri: string,
    context: ServerContext,
  ): Promise<ReadResourceResult> {
    const { surface } = this.#components
    const asked = surface.asked('resources/read', { uri })!
    return this.#protocol(exchange, uri, () =>
      this.#guarded(exchange, era, asked, { resource: uri, args: null }, async () => {
        const row = exchange.view.resources.find((one) => one.match(uri) !== null)
        const variables = row?.match(uri)
        if (!row || !variables) throw new ResourceNotFoundError(uri)
        await this.#checkRate(exchange, `resource ${row.name}`)
        const contents = [await row.read(uri, variables, this.#call(exchange, context))]
        if (era === 'legacy') return { contents }
        return { contents, ttlMs: row.ttlMs, cacheScope: 'private' as const }
      }),
    )
  }

  async getPrompt(
    exchange: Exchange,
    era: Era,
    { name, arguments: args = {} }: GetPromptRequestParams,
    context: ServerContext,
  ): Promise<GetPromptResult | InputRequiredResult> {
    const { surface } = this.#components
    const asked = surface.asked('prompts/get', { name })!
    return this.#protocol(exchange, name, () =>
      this.#guarded(exchange, era, asked, { resource: name, args }, async () => {
        const prompt = exchange.view.prompts.get(name)
        if (!prompt) throw new InvalidRequestError(`There is no prompt ${name.slice(0, 64)} here.`)
        await this.#checkRate(exchange, `prompt ${name}`)
        for (const { name: argument, required } of prompt.arguments) {
          if (!required || args[argument] !== undefined) continue
          throw new InvalidRequestError(`The prompt needs the argument ${argument}.`)
        }
        const got = await prompt.get(args, this.#call(exchange, context), context)
        if (!Array.isArray(got)) return got
        return { description: prompt.listed.description, messages: got }
      }),
    )
  }

  async complete(
    exchange: Exchange,
    era: Era,
    { ref, argument }: CompleteRequestParams,
    context: ServerContext,
  ): Promise<CompleteResult> {
    const { surface } = this.#components
    const asked = surface.asked('completion/complete', { ref })!
    const { view } = exchange
    const resource = ref.type === 'ref/prompt' ? ref.name : ref.uri
    return this.#protocol(exchange, resource, () =>
      this.#guarded(exchange, era, asked, { resource, args: null }, async () => {
        const row =
          ref.type === 'ref/prompt'
            ? view.prompts.get(ref.name)
            : view.resources.find(({ uri }) => uri === ref.uri)
        if (!row) throw new InvalidRequestError('There is nothing of this name to complete for.')
        await this.#checkRate(exchange, 'completion')
        const completer =
          'arguments' in row
            ? row.arguments.find(({ name }) => name === argument.name)?.complete
            : row.complete[argument.name]
        const call = this.#call(exchange, context)
        const all = (await completer?.(argument.value, call)) ?? []
        const values = all.slice(0, COMPLETIONS_MAX)
        return { completion: { values, hasMore: all.length > values.length } }
      }),
    )
  }

  #call(exchange: Exchange, context: ServerContext): Call {
    const { services } = this.#components
    return toCall(exchange, { services, callsPerMinuteMax: this.#callsPerMinuteMax }, context)
  }

  /** Written down and counted however it ends. */
  async #guarded<T extends object>(
    exchange: Exchange,
    era: Era,
    asked: Asked,
    { resource, args }: { resource: string; args: unknown },
    work: () => Promise<T>,
  ): Promise<T> {
    const { audit, metrics } = this.#components
    const startedAt = performance.now()
    let outcome: Outcome = 'failed'
    let status = 500
    // What finds no room for its row is not begun, and leaves none either.
    audit?.assertRoom()
    try {
      this.#checkScope(exchange, asked)
      const result = await work()
      outcome = 'ok'
      status = 200
      return result
    } catch (error) {
      ;({ outcome, status } = this.#judge(error, exchange))
      throw error
    } finally {
      const seconds = (performance.now() - startedAt) / 1000
      const { method, name } = asked
      metrics.count({ method, name, era, outcome })
      metrics.time({ method, name }, seconds)
      const isCompletion = asked.method === 'completion/complete' && status === 200
      // What is typed brings one with every key; what it leads to has a row of its own.
      if (!isCompletion) this.#record(exchange, { asked, resource, args, status })
    }
  }

  /**
   * Refuses at the door, before a server is made.
   * @throws AuditUnavailableError
   */
  refuse(exchange: Pick<Exchange, 'caller'>, era: Era, what: Omit<Recorded, 'status'>): void {
    const { audit, metrics } = this.#components
    audit?.assertRoom()
    const { method, name } = what.asked
    metrics.count({ method, name, era, outcome: 'denied' })
    this.#record(exchange, { ...what, status: 403 })
  }

  #record({ caller }: Pick<Exchange, 'caller'>, what: Recorded): void {
    const { audit, metrics } = this.#components
    const { claims, remote, requestId } = caller
    const denied = what.status === 403
    if (denied) metrics.deny(what.asked.name, claims.role)
    audit?.record({
      actor: claims.subject,
      tokenId: claims.id,
      remote,
      action: `${what.asked.method} ${what.asked.name}`,
      resource: what.resource,
      outcome: denied ? 'deny' : 'allow',
      status: what.status,
      requestId,
      // What has more was refused for that, and hashing it would cost what the bound is to save.
      argumentsHash: hasMoreElements(what.args, ARGUMENT_ELEMENTS_MAX)
        ? ''
        : hashArguments(what.resource, what.args),
    })
  }

  #judge(error: unknown, { caller }: Exchange): { outcome: Outcome; status: number } {
    if (error instanceof ResourceNotFoundError) return { outcome: 'unknown', status: 404 }
    if (error instanceof ProtocolError) return { outcome: 'failed', status: 400 }
    const { status } = toFailure(error, caller.requestId)
    if (status >= 500) {
      const { requestId } = caller
      this.#components.log.warn({ err: error, requestId }, 'call failed')
    }
    if (status === 403) return { outcome: 'denied', status }
    return { outcome: status === 429 ? 'rate_limited' : 'failed', status }
  }

  /** The second of three checks: the first is at the door, the third is the daemon's. */
  #checkScope({ caller }: Exchange, { scope }: Asked): void {
    if (scope === null || caller.claims.scopes.includes(scope)) return
    throw new ScopeMissingError(`The token lacks the scope ${scope}.`)
  }

  async #checkRate(
    { caller }: Exchange,
    name: string,
    callsPerMinuteMax = Number.POSITIVE_INFINITY,
  ): Promise<void> {
    const perMinute = Math.min(this.#callsPerMinuteMax, callsPerMinuteMax)
    const taken = this.#components.rateLimit.take(`${caller.claims.subject} ${name}`, { perMinute })
    const waitMs = typeof taken === 'number' ? taken : await taken
    if (waitMs === 0) return
    const seconds = Math.ceil(waitMs / 1000)
    throw new OverloadedError(`More than ${perMinute} calls of ${name} a minute.`, seconds)
  }

  /** Of the table, but not of what this client asked to see. */
  #notVisible(name: string): Error {
    const tool = this.#components.surface.tool(name)
    const message = tool
      ? `The tool ${name} is not among the toolsets of this connection, or it writes and the connection only reads. It is in: ${tool.toolsets.join(', ')}.`
      : `There is no tool of the name ${name.slice(0, 64)}.`
    return new ProtocolError(ProtocolErrorCode.InvalidParams, message)
  }

  /** Resources and prompts have no results for errors: those of the protocol, with our code. */
  async #protocol<T>(exchange: Exchange, uri: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof ProtocolError) throw error
      const { code, status, result } = toFailure(error, exchange.caller.requestId)
      if (status === 404 && uri.includes('://')) throw new ResourceNotFoundError(uri)
      const [first] = result.content
      const text = first?.type === 'text' ? first.text : code
      const number =
        status >= 500 ? ProtocolErrorCode.InternalError : ProtocolErrorCode.InvalidParams
      throw new ProtocolError(number, text, { code, status })
    }
  }
}
