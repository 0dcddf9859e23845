import { Pool } from 'undici'

import {
  InvalidRequestError,
  ModelNotFoundError,
  OverloadedError,
  UpstreamUnreachableError,
} from '../../shared/errors.ts'
import { JSONFields } from '../../shared/json/json-fields.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Agent } from '../agents/agent.ts'
import type { OwnAgents } from '../agents/own-agents.ts'
import {
  CALLS_SERVED_MAX,
  CONNECT_TIMEOUT_MS,
  FIRST_BYTE_TIMEOUT_MS,
  IDLE_TIMEOUT_MS,
  LEASE_MS,
  MODEL_PROJECT,
  MODEL_ROLE,
  RENEW_INTERVAL_MS,
} from './constants.ts'
import { ANSWER_HEADERS, type ModelAnswer, type RequestHead } from './model-exchange.ts'

export interface LocalModelsComponents {
  own: Pick<OwnAgents, 'register' | 'withdraw'>
  log: Logger
}

export interface LocalModelsInit {
  selfId: string
  /** Names the announcement: `models.walnut@mesh`. */
  nodeName: string
  /** Base URL of a server with OpenAI's API; without one nothing is shared. */
  url?: string | undefined
  key?: string | undefined
  /** Names of models, as the server knows them. */
  shared: readonly string[]
  renewIntervalMs?: number
}

/** The models of this node's own server that all of the mesh may use. */
export class LocalModels implements Startable {
  readonly #components: LocalModelsComponents
  readonly #init: LocalModelsInit
  readonly #pool: Pool | null
  readonly #basePath: string
  #inFlight = 0
  #timer: NodeJS.Timeout | undefined

  constructor(components: LocalModelsComponents, init: LocalModelsInit) {
    this.#components = components
    this.#init = init
    const url = init.url === undefined || init.shared.length === 0 ? null : new URL(init.url)
    this.#basePath = url?.pathname.replace(/\/+$/, '') ?? ''
    this.#pool =
      url &&
      new Pool(url.origin, {
        connections: CALLS_SERVED_MAX,
        connect: { timeout: CONNECT_TIMEOUT_MS },
        headersTimeout: FIRST_BYTE_TIMEOUT_MS,
        bodyTimeout: IDLE_TIMEOUT_MS,
      })
  }

  shares(model: string): boolean {
    return this.#pool !== null && this.#init.shared.includes(model)
  }

  async start(): Promise<void> {
    if (!this.#pool || this.#timer) return
    this.#announce()
    const everyMs = this.#init.renewIntervalMs ?? RENEW_INTERVAL_MS
    this.#timer = setInterval(() => this.#announce(), everyMs).unref()
  }

  async stop(): Promise<void> {
    if (this.#timer) {
      clearInterval(this.#timer)
      this.#timer = undefined
      // It may have run out already.
      await Promise.resolve()
        .then(() => this.#components.own.withdraw(`${this.#agent().name}@${MODEL_PROJECT}`))
        .catch(() => undefined)
    }
    await this.#pool?.destroy()
  }

  /**
   * Asks the own server, and nothing but that one, for a model that is shared.
   * @throws ModelNotFoundError, InvalidRequestError, OverloadedError, UpstreamUnreachableError
   */
  async serve(head: RequestHead, body: Uint8Array, signal: AbortSignal): Promise<ModelAnswer> {
    const pool = this.#pool
    if (!pool || !this.shares(head.model)) {
      throw new ModelNotFoundError('The model is not shared by this node.')
    }
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
    requireModel(bytes, head.model)
    if (this.#inFlight >= CALLS_SERVED_MAX) {
      throw new OverloadedError('The models of this node are busy.', 1)
    }
    this.#inFlight += 1
    const done = once(() => (this.#inFlight -= 1))
    try {
      const { key, selfId: peerId } = this.#init
      const answer = await pool.request({
        method: 'POST',
        path: this.#basePath + head.path,
        headers: {
          'content-type': 'application/json',
          accept: head.accept,
          'accept-encoding': 'identity',
          ...(key !== undefined && { authorization: `Bearer ${key}` }),
        },
        body: bytes,
        signal,
      })
      answer.body.once('close', done)
      const headers: Record<string, string> = {}
      for (const name of ANSWER_HEADERS) {
        const value = answer.headers[name]
        if (typeof value === 'string') headers[name] = value
      }
      return { peerId, status: answer.statusCode, headers, body: answer.body }
    } catch (error) {
      done()
      signal.throwIfAborted()
      const message = 'The server with the models of this node does not answer.'
      throw new UpstreamUnreachableError(message, { cause: error })
    }
  }

  #agent(): Agent {
    const { nodeName, shared } = this.#init
    return {
      name: `models.${nodeName}`.toLowerCase(),
      project: MODEL_PROJECT,
      role: MODEL_ROLE,
      capabilities: { skills: [], models: [...new Set(shared)], tools: [] },
      endpoint: null,
      load: Math.min(this.#inFlight / CALLS_SERVED_MAX, 1),
    }
  }

  #announce(): void {
    try {
      this.#components.own.register(this.#agent(), LEASE_MS)
    } catch (error) {
      this.#components.log.error({ err: error }, 'shared models are not announced')
    }
  }
}

/** What is shared is one model; a body may name another one. */
function requireModel(bytes: Buffer, model: string): void {
  const fields = new JSONFields({ names: ['model'], valueBytesMax: 1024 })
  fields.push(bytes)
  if (fields.isComplete && fields.repeated === null && fields.value('model') === model) return
  throw new InvalidRequestError('The body does not ask for the model that the call names.')
}

function once(action: () => void): () => void {
  let isDone = false
  return () => {
    if (!isDone) action()
    isDone = true
  }
}
