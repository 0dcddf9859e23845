import {
  Counter,
  DURATION_BUCKETS_SECONDS,
  Histogram,
  type Registry,
} from '../../shared/metrics/metrics.ts'

/** How a call ended. `failed`: the work was allowed, and did not succeed. */
export type Outcome = 'ok' | 'failed' | 'denied' | 'rate_limited' | 'unknown'

export type Era = 'modern' | 'legacy'

export interface Observation {
  method: string
  /** Of the table, so that there are few. */
  name: string
  era: Era
  outcome: Outcome
}

/** Calls by what was called and how it ended. */
export class McpMetrics {
  readonly #calls: Counter<'method' | 'name' | 'outcome' | 'era'>
  readonly #duration: Histogram<'method' | 'name'>
  readonly #denied: Counter<'name' | 'role'>

  constructor({ registry }: { registry: Registry }) {
    const registers = [registry]
    this.#calls = new Counter({
      name: 'bzzz_mcp_calls_total',
      help: 'Calls of tools, reads of resources, uses of prompts, and how they ended',
      labelNames: ['method', 'name', 'outcome', 'era'],
      registers,
    })
    this.#duration = new Histogram({
      name: 'bzzz_mcp_call_seconds',
      help: 'Time of a call from the check of its scope to its result',
      labelNames: ['method', 'name'],
      buckets: DURATION_BUCKETS_SECONDS,
      registers,
    })
    this.#denied = new Counter({
      name: 'bzzz_mcp_denied_total',
      help: 'Calls refused for want of a scope, by the role of the token',
      labelNames: ['name', 'role'],
      registers,
    })
  }

  count({ method, name, era, outcome }: Observation): void {
    this.#calls.inc({ method, name, outcome, era })
  }

  time({ method, name }: Pick<Observation, 'method' | 'name'>, seconds: number): void {
    this.#duration.observe({ method, name }, seconds)
  }

  deny(name: string, role: string): void {
    this.#denied.inc({ name, role })
  }
}
