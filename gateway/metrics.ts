import { AggregatorRegistry } from 'prom-client'

import {
  Counter,
  DURATION_BUCKETS_SECONDS,
  Gauge,
  Histogram,
  type Registry,
} from '../shared/metrics/metrics.ts'
import type { FunctionProvider } from './providers/provider.ts'

interface Calls {
  started: number
  ended: Map<number, number>
}

/**
 * Under the names of OpenFaaS's gateway, so that dashboards and alerts made for it work. Counts are
 * kept in a map and given to the registry when it is asked: labels cost more than the counting.
 */
export class GatewayMetrics {
  readonly #registry: Registry
  readonly #provider: FunctionProvider
  readonly #seconds: Histogram<'function_name' | 'code'>
  readonly #unknown: Counter
  readonly #calls = new Map<string, Calls>()

  constructor({ registry, provider }: { registry: Registry; provider: FunctionProvider }) {
    this.#registry = registry
    this.#provider = provider
    const registers = [registry]
    this.#seconds = new Histogram({
      name: 'gateway_functions_seconds',
      help: 'Time from the begin of a call to the last byte of its answer',
      labelNames: ['function_name', 'code'],
      buckets: DURATION_BUCKETS_SECONDS,
      registers,
    })
    this.#unknown = new Counter({
      name: 'bzzz_gateway_unknown_function_total',
      help: 'Calls of functions that do not exist',
      registers,
    })
    this.#registerCounts(registers)
  }

  begin(functionName: string): void {
    this.#callsOf(functionName).started += 1
  }

  end(functionName: string, status: number, seconds: number): void {
    this.#seconds.observe({ function_name: functionName, code: String(status) }, seconds)
    const { ended } = this.#callsOf(functionName)
    ended.set(status, (ended.get(status) ?? 0) + 1)
  }

  unknownFunction(): void {
    this.#unknown.inc()
  }

  /** Calls that have ended since this process started. */
  invocations(functionName: string): number {
    let sum = 0
    for (const count of this.#calls.get(functionName)?.ended.values() ?? []) sum += count
    return sum
  }

  /** Those of the gateway and of the functions in it, as one exposition. */
  async expose(): Promise<{ contentType: string; text: string }> {
    const all = [await this.#registry.getMetricsAsJSON(), ...(await this.#provider.metrics())]
    const merged = AggregatorRegistry.aggregate(all)
    return { contentType: merged.contentType, text: await merged.metrics() }
  }

  #callsOf(functionName: string): Calls {
    let calls = this.#calls.get(functionName)
    if (!calls) this.#calls.set(functionName, (calls = { started: 0, ended: new Map() }))
    return calls
  }

  #registerCounts(registers: Registry[]): void {
    const started = new Counter({
      name: 'gateway_function_invocation_started',
      help: 'Calls of functions that were begun',
      labelNames: ['function_name'],
      registers,
      collect: () => {
        started.reset()
        for (const [name, calls] of this.#calls) started.inc({ function_name: name }, calls.started)
      },
    })
    const ended = new Counter({
      name: 'gateway_function_invocation_total',
      help: 'Calls of functions that have ended, by status',
      labelNames: ['function_name', 'code'],
      registers,
      collect: () => {
        ended.reset()
        for (const [name, calls] of this.#calls) {
          for (const [code, count] of calls.ended) ended.inc({ function_name: name, code }, count)
        }
      },
    })
    const replicas = new Gauge({
      name: 'gateway_service_count',
      help: 'Replicas of each function that can be called',
      labelNames: ['function_name'],
      registers,
      collect: () => {
        replicas.reset()
        for (const deployed of this.#provider.list()) {
          const { name, namespace, availableReplicas } = deployed.details()
          replicas.set({ function_name: `${name}.${namespace}` }, availableReplicas)
        }
      },
    })
  }
}
