import { isAbsolute } from 'node:path'

import { Pool, type Dispatcher } from 'undici'

import { MODELS_ENDPOINT, type Endpoint } from '../endpoints.ts'
import { CONNECTIONS_MAX, COOL_DOWN_MS_MAX, KEY_BYTES_MAX } from '../constants.ts'
import { secretPaths } from './config-source.ts'
import type { HealthConfig, UpstreamConfig } from './upstream-config.ts'
import { RereadFile } from './reread-file.ts'

const DEPLOYMENT = /^(?!\.{1,2}$)[-\w.]{1,128}$/

export interface UpstreamInit {
  config: UpstreamConfig
  secretsDirs: readonly string[]
  /** In place of a file. */
  key?: string | undefined
  /** Its base URL, or that of the daemon through which the mesh is reached. */
  base: string
}

/** What is needed to say where a call goes. */
export interface UpstreamCall {
  endpoint: Endpoint
  /** The path below the base URL, with ids filled in that were checked. */
  path: string
  query: string
  /** As the upstream calls it. */
  model: string | null
  /** Of the caller: handed on to the own daemon, and to nobody else. */
  token: string
}

/** Somebody who serves models, and how it has been doing. */
export class Upstream {
  readonly name: string
  readonly config: UpstreamConfig
  readonly #pool: Pool
  readonly #basePath: string
  readonly #keyFile: RereadFile | null
  readonly #key: string | undefined
  readonly #patterns: RegExp[]
  #failures = 0
  #coolUntilMs = 0
  #probesFailed = 0

  constructor(name: string, init: UpstreamInit) {
    const { config, secretsDirs } = init
    this.name = name
    this.config = config
    const base = new URL(init.base)
    this.#basePath = config.type === 'mesh' ? '/v1/shared' : base.pathname.replace(/\/+$/, '')
    this.#pool = new Pool(base.origin, {
      connections: CONNECTIONS_MAX,
      connect: { timeout: config.timeouts.connect },
      headersTimeout: config.timeouts.firstByte,
      bodyTimeout: config.timeouts.idle,
    })
    this.#key = init.key
    const keyFile = config.type === 'mesh' ? undefined : config.apiKeyFile
    this.#keyFile =
      keyFile === undefined
        ? null
        : new RereadFile(isAbsolute(keyFile) ? [keyFile] : secretPaths(keyFile, secretsDirs), {
            bytesMax: KEY_BYTES_MAX,
          })
    this.#patterns = config.models.map(toPattern)
  }

  /** What the model is called in a body for this upstream. */
  nameOf(model: string): string {
    return this.config.type === 'azure' ? (this.config.deployments[model] ?? model) : model
  }

  serves(model: string): boolean {
    // The name of a deployment becomes a part of a path.
    if (this.config.type === 'azure' && !DEPLOYMENT.test(this.nameOf(model))) return false
    return this.#patterns.some((pattern) => pattern.test(model))
  }

  /** Zero while it is not avoided. */
  get coolUntilMs(): number {
    return this.#coolUntilMs > performance.now() ? this.#coolUntilMs : 0
  }

  /** Null where it is not asked. */
  get health(): HealthConfig | null {
    return this.config.type === 'mesh' ? null : (this.config.health ?? null)
  }

  /** False after so many probes in a row failed: then it is asked last. */
  get isHealthy(): boolean {
    return this.health === null || this.#probesFailed < this.health.failures
  }

  /** @returns whether this changes how it is */
  probed(passed: boolean): boolean {
    const before = this.isHealthy
    this.#probesFailed = passed ? 0 : this.#probesFailed + 1
    return this.isHealthy !== before
  }

  succeeded(): void {
    this.#failures = 0
    this.#coolUntilMs = 0
  }

  /** Avoided at once where it says for how long, else after so many failures in a row. */
  failed(retryAfterMs: number | null): void {
    const { failures, time } = this.config.coolDown
    this.#failures += 1
    if (retryAfterMs === null && this.#failures < failures) return
    const coolMs = Math.min(retryAfterMs ?? time, COOL_DOWN_MS_MAX)
    this.#coolUntilMs = performance.now() + coolMs
  }

  dispatch(
    call: UpstreamCall,
    request: {
      headers: Record<string, string>
      body: Dispatcher.DispatchOptions['body']
    },
    handler: Dispatcher.DispatchHandler,
  ): void {
    const { endpoint } = call
    Object.assign(request.headers, this.#headers(call))
    this.#pool.dispatch(
      {
        method: endpoint.method,
        path: this.#path(call),
        headers: request.headers,
        body: request.body ?? null,
      },
      handler,
    )
  }

  /** Asks how it is, where the configuration says. */
  probe(handler: Dispatcher.DispatchHandler): void {
    const call = { endpoint: MODELS_ENDPOINT, path: '/models', query: '', model: null, token: '' }
    const path = this.health?.path ?? this.#path(call)
    const headers = { accept: '*/*', ...this.#headers(call) }
    this.#pool.dispatch({ method: 'GET', path, headers }, handler)
  }

  async close(): Promise<void> {
    await this.#pool.destroy()
  }

  /** Calls that are on their way end first. */
  async retire(): Promise<void> {
    await this.#pool.close()
  }

  #path({ endpoint, path, query, model }: UpstreamCall): string {
    const { config } = this
    if (config.type !== 'azure') return `${this.#basePath}${path}${query && `?${query}`}`
    const version = `api-version=${config.apiVersion}`
    const deployment = model === null ? undefined : this.nameOf(model)
    // Only calls of a model are below its deployment; what is kept is the account's.
    const below =
      deployment === undefined || endpoint.answer === 'responses'
        ? ''
        : `/deployments/${encodeURIComponent(deployment)}`
    return `${this.#basePath}${below}${path}?${query && `${query}&`}${version}`
  }

  #headers({ token, model }: UpstreamCall): Record<string, string> {
    const { config } = this
    if (config.type === 'mesh') {
      return {
        authorization: `Bearer ${token}`,
        ...(model !== null && { 'bzzz-model': encodeURIComponent(model) }),
      }
    }
    this.#keyFile?.refresh()
    const key = this.#keyFile?.text?.trim() ?? this.#key
    if (key === undefined || key === '') return config.headers
    const credential: Record<string, string> =
      config.type === 'azure' ? { 'api-key': key } : { authorization: `Bearer ${key}` }
    return { ...config.headers, ...credential }
  }
}

/** A star stands for any letters; everything else for itself. */
function toPattern(text: string): RegExp {
  const literal = text.split('*').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return new RegExp(`^${literal.join('.*')}$`, 's')
}
