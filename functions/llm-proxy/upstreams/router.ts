import { ModelNotFoundError, UpstreamMissingError } from '../../../shared/errors.ts'
import type { Logger } from '../../../shared/log/log.ts'
import type { ConfigSource, LoadedUpstreams } from './config-source.ts'
import { Upstream } from './upstream.ts'

/** Somebody who can take a call, and what the model is called there. */
export interface Route {
  upstream: Upstream
  model: string | null
}

interface Weighed extends Route {
  weight: number
  priority: number
}

export interface RouterInit {
  secretsDirs: readonly string[]
  /** Daemons, for the models of the mesh. */
  endpoints: readonly string[]
}

/** Finds for a model the upstreams that serve it, in the order in which they are to be tried. */
export class Router {
  readonly #log: Logger
  readonly #source: ConfigSource
  readonly #init: RouterInit
  #upstreams: ReadonlyMap<string, readonly Upstream[]>

  constructor(components: { source: ConfigSource; log: Logger }, init: RouterInit) {
    this.#log = components.log
    this.#source = components.source
    this.#init = init
    this.#upstreams = this.#build(this.#source.current)
  }

  get config(): LoadedUpstreams {
    return this.#source.current
  }

  get upstreams(): readonly Upstream[] {
    return [...this.#upstreams.values()].flat()
  }

  /**
   * Those of the least priority first, by lot according to their weights; those that are being
   * avoided behind them, and those that fail their probes last. With a weight of 0 it is only a way
   * out.
   * @throws UpstreamMissingError, ModelNotFoundError
   */
  routes(model: string | null): Route[] {
    this.#refresh()
    if (this.#upstreams.size === 0) {
      throw new UpstreamMissingError(
        'No upstream is configured: set OPENAI_API_KEY_FILE, OPENAI_BASE_URL or ' +
          'BZZZ_LLM_CONFIG_FILE of the function llm-proxy.',
      )
    }
    const found = this.#find(model)
    if (found.length === 0) {
      throw new ModelNotFoundError('The model does not exist, or no upstream here serves it.')
    }
    return found.length === 1 ? found : order(found)
  }

  async close(): Promise<void> {
    await Promise.all(this.upstreams.map((upstream) => upstream.close()))
  }

  #find(model: string | null): Weighed[] {
    const targets =
      model !== null && Object.hasOwn(this.config.models, model) ? this.config.models[model] : null
    if (targets) {
      return targets.flatMap(({ upstream, model: name, weight, priority }) =>
        weigh(this.#upstreams.get(upstream) ?? [], name ?? model, { weight, priority }),
      )
    }
    return [...this.#upstreams.values()].flatMap((same) => {
      const [first] = same
      if (!first || (model !== null && !first.serves(model))) return []
      return weigh(same, model, first.config)
    })
  }

  /** Upstreams that changed are made anew; calls at the old ones end as they began. */
  #refresh(): void {
    if (!this.#source.refresh()) return
    const replaced = this.upstreams
    this.#upstreams = this.#build(this.#source.current)
    for (const upstream of replaced) {
      upstream.retire().catch((error: unknown) => {
        this.#log.warn({ err: error, upstream: upstream.name }, 'upstream did not close')
      })
    }
  }

  #build(config: LoadedUpstreams): ReadonlyMap<string, readonly Upstream[]> {
    const { secretsDirs, endpoints } = this.#init
    return new Map(
      Object.entries(config.upstreams).map(([name, one]) => [
        name,
        // Each daemon knows the whole mesh: the own node's is asked, the others are a way out.
        (one.type === 'mesh' ? endpoints : [one.baseURL]).map(
          (base) =>
            new Upstream(name, { config: one, secretsDirs, base, key: config.environmentKey }),
        ),
      ]),
    )
  }
}

function weigh(
  same: readonly Upstream[],
  model: string | null,
  { weight, priority }: { weight: number; priority: number },
): Weighed[] {
  return same.map((upstream, index) => ({
    upstream,
    model,
    weight: index === 0 ? weight : 0,
    priority,
  }))
}

function order(routes: Weighed[]): Weighed[] {
  // By lot: each draws a number, and a heavier one draws a smaller one more often.
  const lots = new Map(
    routes.map((route) => [
      route,
      route.weight > 0 ? -Math.log(1 - Math.random()) / route.weight : Infinity,
    ]),
  )
  return routes.toSorted(
    (a, b) =>
      Number(b.upstream.isHealthy) - Number(a.upstream.isHealthy) ||
      a.upstream.coolUntilMs - b.upstream.coolUntilMs ||
      a.priority - b.priority ||
      compare(lots.get(a)!, lots.get(b)!),
  )
}

/** A difference would not do: Infinity minus itself is no number. */
function compare(a: number, b: number): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
