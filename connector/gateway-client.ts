import { Pool, type Dispatcher } from 'undici'
import { z } from 'zod'

import { fromWireError } from '../shared/http/wire-error.ts'
import { CONNECT_TIMEOUT_MS, GATEWAY_CONNECTIONS_MAX, POLL_TIMEOUT_MS } from './constants.ts'
import type { TokenSource } from './token-source.ts'

/** What is used of OpenFaaS's status of a function. */
const functionsSchema = z.array(
  z.object({
    name: z.string(),
    annotations: z
      .record(z.string(), z.string())
      .nullish()
      .transform((map) => map ?? {}),
  }),
)

export type DeployedFunction = z.output<typeof functionsSchema>[number]

export interface FunctionCall {
  function: string
  path: string
  headers: Readonly<Record<string, string>>
  body: Uint8Array
  signal: AbortSignal
}

/** Codes of a connection that did not come about: the function has seen nothing of the call. */
const NOT_CONNECTED = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
])

/** The gateway, whichever it is. */
export class GatewayClient {
  readonly #pool: Pool
  readonly #basePath: string
  readonly #tokens: TokenSource

  constructor({ tokens }: { tokens: TokenSource }, init: { url: string; timeoutMs: number }) {
    const { origin, pathname } = new URL(init.url)
    this.#basePath = pathname.replace(/\/+$/, '')
    this.#tokens = tokens
    this.#pool = new Pool(origin, {
      connections: GATEWAY_CONNECTIONS_MAX,
      connectTimeout: CONNECT_TIMEOUT_MS,
      // The signal of each call ends it; these only catch what lost its signal.
      headersTimeout: init.timeoutMs + 1_000,
      bodyTimeout: init.timeoutMs + 1_000,
    })
  }

  async functions(signal: AbortSignal): Promise<DeployedFunction[]> {
    await this.#tokens.refresh()
    const answer = await this.#pool.request({
      method: 'GET',
      path: `${this.#basePath}/system/functions`,
      headers: { authorization: `Bearer ${this.#tokens.token}` },
      signal: AbortSignal.any([signal, AbortSignal.timeout(POLL_TIMEOUT_MS)]),
    })
    const text = await answer.body.text()
    if (answer.statusCode !== 200) throw fromWireError(answer.statusCode, text)
    return functionsSchema.parse(JSON.parse(text))
  }

  call({
    function: name,
    path,
    headers,
    body,
    signal,
  }: FunctionCall): Promise<Dispatcher.ResponseData> {
    return this.#pool.request({
      method: 'POST',
      path: `${this.#basePath}/function/${name}${path === '/' ? '' : path}`,
      headers: { ...headers },
      body,
      signal,
    })
  }

  async close(): Promise<void> {
    await this.#pool.destroy()
  }
}

export function isNotConnected(error: unknown): boolean {
  const inner = error instanceof AggregateError ? error.errors[0] : error
  return inner instanceof Error && 'code' in inner && NOT_CONNECTED.has(String(inner.code))
}
