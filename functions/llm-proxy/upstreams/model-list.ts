import type { Logger } from '../../../shared/log/log.ts'
import { Attempt } from '../forward/attempt.ts'
import { MODELS_ENDPOINT } from '../endpoints.ts'
import { MODEL_LIST_BYTES_MAX, MODEL_LIST_TIMEOUT_MS, MODEL_LIST_TTL_MS } from '../constants.ts'
import type { Router } from './router.ts'
import type { Upstream } from './upstream.ts'

/** A model as OpenAI's clients read it; what else an upstream says of it is kept. */
export interface ListedModel {
  id: string
  object: 'model'
  owned_by: string
}

interface Known {
  models: readonly ListedModel[]
  atMs: number
}

/** What can be called here: aliases of the configuration, and what each upstream says it has. */
export class ModelList {
  readonly #router: Pick<Router, 'routes' | 'config'>
  readonly #log: Logger
  readonly #known = new WeakMap<Upstream, Known>()

  constructor(components: { router: Pick<Router, 'routes' | 'config'>; log: Logger }) {
    this.#router = components.router
    this.#log = components.log
  }

  /** Upstreams that do not answer are left out, but for the names that the configuration has. */
  async list(token: string, signal: AbortSignal): Promise<ListedModel[]> {
    const upstreams = this.#router.routes(null).map(({ upstream }) => upstream)
    const found = new Map<string, ListedModel>()
    for (const alias of Object.keys(this.#router.config.models)) found.set(alias, listed(alias))
    const asked = upstreams.map((upstream) => this.#modelsOf(upstream, token, signal))
    for (const models of await Promise.all(asked)) {
      for (const model of models) if (!found.has(model.id)) found.set(model.id, model)
    }
    signal.throwIfAborted()
    return [...found.values()]
  }

  async #modelsOf(
    upstream: Upstream,
    token: string,
    signal: AbortSignal,
  ): Promise<readonly ListedModel[]> {
    const known = this.#known.get(upstream)
    if (known && performance.now() - known.atMs < MODEL_LIST_TTL_MS) return known.models
    const models = new Map<string, ListedModel>()
    for (const name of upstream.config.models) {
      if (!name.includes('*')) models.set(name, listed(name, upstream.name))
    }
    try {
      const bytes = await fetchList(upstream, token, signal)
      for (const model of parseList(bytes)) {
        if (upstream.serves(model.id)) models.set(model.id, model)
      }
      this.#known.set(upstream, { models: [...models.values()], atMs: performance.now() })
    } catch (error) {
      this.#log.debug({ err: error, upstream: upstream.name }, 'upstream did not list its models')
    }
    return [...models.values()]
  }
}

function listed(id: string, owner = 'bzzz'): ListedModel {
  return { id, object: 'model', owned_by: owner }
}

async function fetchList(upstream: Upstream, token: string, signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  const attempt: Attempt = new Attempt({
    accepts: (status) => status === 200,
    begin: () => undefined,
    data: (chunk) => {
      length += chunk.length
      if (length > MODEL_LIST_BYTES_MAX) attempt.abort(new Error('The list is too long.'))
      else chunks.push(chunk)
      return true
    },
    end: () => undefined,
  })
  const limit = AbortSignal.any([signal, AbortSignal.timeout(MODEL_LIST_TIMEOUT_MS)])
  limit.addEventListener('abort', () => attempt.abort(limit.reason as Error), { once: true })
  const call = { endpoint: MODELS_ENDPOINT, path: '/models', query: '', model: null, token }
  upstream.dispatch(call, { headers: {}, body: null }, attempt)
  const result = await attempt.result
  if (result.kind === 'done') return Buffer.concat(chunks)
  throw 'error' in result ? result.error : new Error(`The upstream answered ${result.status}.`)
}

function parseList(bytes: Buffer): ListedModel[] {
  const value = JSON.parse(bytes.toString()) as { data?: unknown }
  const data = Array.isArray(value.data) ? (value.data as unknown[]) : []
  return data.flatMap((one) => {
    if (typeof one !== 'object' || one === null) return []
    const model = one as Partial<ListedModel>
    return typeof model.id === 'string' ? [{ ...listed(model.id), ...model, id: model.id }] : []
  })
}
