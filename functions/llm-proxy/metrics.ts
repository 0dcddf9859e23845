import { Counter, Gauge, Histogram, type Registry } from '../../shared/metrics/metrics.ts'
import type { ModelUsage } from '../../shared/llm/model-usage.ts'
import type { Upstream } from './upstreams/upstream.ts'

/** Seconds; what the proxy adds lies between 0.1 ms and the 50 ms of a machine without air. */
const OVERHEAD_BUCKETS_SECONDS = [
  0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1,
]

/** Seconds; from a cached word to the long thought of a model. */
const ANSWER_BUCKETS_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320]

/** Models and upstreams come from the configuration and from callers; the latter are counted. */
const MODELS_LABELLED_MAX = 200

/** How a call ended, as the caller saw it. */
export type CallOutcome = 'complete' | 'cut' | 'aborted' | 'failed'

export interface CallMeasures {
  operation: string
  upstream: string
  model: string
  status: number
  outcome: CallOutcome
  stream: boolean
  cached: boolean
  usage: ModelUsage
  nanoUsd: bigint
  /** From the request to its last byte out. */
  totalMs: number
  /** To the first byte out; null where none went. */
  firstByteMs: number | null
  /** Of that, what the proxy itself took; null where no upstream answered. */
  overheadMs: number | null
}

/**
 * The stable names of bzzz. Those of OpenTelemetry (`gen_ai.*`) are still changing;
 * docs/LLM-PROXY.md says which stands for which.
 */
export class CallMetrics {
  readonly #calls
  readonly #duration
  readonly #firstByte
  readonly #overhead
  readonly #tokens
  readonly #cost
  readonly #attempts
  readonly #threadAppends
  readonly #models = new Set<string>()

  constructor(components: { registry: Registry; upstreams: () => readonly Upstream[] }) {
    const registers = [components.registry]
    const of = ['operation', 'upstream', 'model'] as const
    this.#calls = new Counter({
      name: 'bzzz_llm_calls_total',
      help: 'Calls of models by how they ended for the caller',
      labelNames: [...of, 'status', 'outcome', 'cache'],
      registers,
    })
    this.#duration = new Histogram({
      name: 'bzzz_llm_call_seconds',
      help: 'From the request to the last byte of its answer',
      labelNames: [...of, 'stream'],
      buckets: ANSWER_BUCKETS_SECONDS,
      registers,
    })
    this.#firstByte = new Histogram({
      name: 'bzzz_llm_first_byte_seconds',
      help: 'From the request to the first byte of its answer',
      labelNames: [...of, 'stream'],
      buckets: ANSWER_BUCKETS_SECONDS,
      registers,
    })
    this.#overhead = new Histogram({
      name: 'bzzz_llm_overhead_seconds',
      help: 'Of the time to the first byte, what the proxy took and not the upstream',
      labelNames: ['operation'],
      buckets: OVERHEAD_BUCKETS_SECONDS,
      registers,
    })
    this.#tokens = new Counter({
      name: 'bzzz_llm_tokens_total',
      help: 'Tokens; cached and cache_write are part of input, reasoning of output',
      labelNames: [...of, 'kind', 'estimated'],
      registers,
    })
    this.#cost = new Counter({
      name: 'bzzz_llm_spend_usd_total',
      help: 'What calls cost by the price map',
      labelNames: [...of],
      registers,
    })
    this.#attempts = new Counter({
      name: 'bzzz_llm_upstream_attempts_total',
      help: 'Calls of upstreams, by status or by how they failed: a call may take several',
      labelNames: ['upstream', 'result'],
      registers,
    })
    this.#threadAppends = new Counter({
      name: 'bzzz_llm_thread_appends_total',
      help: 'Calls whose messages were to be appended to a thread',
      labelNames: ['result'],
      registers,
    })
    const avoided: Gauge<'upstream'> = new Gauge({
      name: 'bzzz_llm_upstream_avoided',
      help: '1 while an upstream is asked last because calls or probes of it failed',
      labelNames: ['upstream'],
      registers,
      collect: () => {
        avoided.reset()
        for (const { name, coolUntilMs, isHealthy } of components.upstreams()) {
          avoided.set({ upstream: name }, coolUntilMs > 0 || !isHealthy ? 1 : 0)
        }
      },
    })
  }

  attempted(upstream: Upstream, result: string): void {
    this.#attempts.inc({ upstream: upstream.name, result })
  }

  appended(result: 'appended' | 'failed' | 'dropped'): void {
    this.#threadAppends.inc({ result })
  }

  observe(call: CallMeasures): void {
    const { operation, upstream, status, outcome, cached, usage } = call
    const of = { operation, upstream, model: this.#labelOf(call.model) }
    const stream = String(call.stream)
    this.#calls.inc({ ...of, status, outcome, cache: cached ? 'hit' : 'miss' })
    this.#duration.observe({ ...of, stream }, call.totalMs / 1000)
    if (call.firstByteMs !== null)
      this.#firstByte.observe({ ...of, stream }, call.firstByteMs / 1000)
    if (call.overheadMs !== null) this.#overhead.observe({ operation }, call.overheadMs / 1000)
    if (cached || outcome === 'failed') return
    const estimated = String(usage.estimated)
    for (const [kind, tokens] of [
      ['input', usage.inputTokens],
      ['cached', usage.cachedInputTokens],
      ['cache_write', usage.cacheWriteTokens],
      ['output', usage.outputTokens],
      ['reasoning', usage.reasoningTokens],
    ] as const) {
      if (tokens > 0) this.#tokens.inc({ ...of, kind, estimated }, tokens)
    }
    if (call.nanoUsd > 0n) this.#cost.inc(of, Number(call.nanoUsd) / 1e9)
  }

  /** A caller may name any model; after so many the rest share one label. */
  #labelOf(model: string): string {
    if (this.#models.has(model)) return model
    if (this.#models.size >= MODELS_LABELLED_MAX) return 'other'
    this.#models.add(model)
    return model
  }
}
