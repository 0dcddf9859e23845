import { AggregatorRegistry } from 'prom-client'

import {
  Counter,
  DURATION_BUCKETS_SECONDS,
  Gauge,
  Histogram,
  type Registry,
} from '../shared/metrics/metrics.ts'
import type { FunctionProvider } from './providers/provider.ts'

/** Under the names of OpenFaaS's gateway, so that dashboards and alerts made for it work. */
export class GatewayMetrics {
  readonly #registry: Registry
  readonly #provider: FunctionProvider
  readonly #started: Counter<'function_name'>
  readonly #invocations: Counter<'function_name' | 'code'>
  readonly #seconds: Histogram<'function_name' | 'code'>
  readonly #unknown: Counter
  readonly #counts = new Map<string, number>()

  constructor({ registry, provider }: { registry: Registry; provider: FunctionProvider }) {
    this.#registry = registry
    this.#provider = provider
    const registers = [registry]
    this.#started = new Counter({
      name: 'gateway_function_invocation_started',
      help: 'Calls of functions that were begun',
      labelNames: ['function_name'],
      registers,
    })
    this.#invocations = new Counter({
      name: 'gateway_function_invocation_total',
      help: 'Calls of functions that have ended, by status',
      labelNames: ['function_name', 'code'],
      registers,
    })
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
    const replicas = new Gauge({
      name: 'gateway_service_count',
      help: 'Replicas of each function that can be called',
      labelNames: ['function_name'],
      registers,
      collect: () => {
        replicas.reset()
        for (const deployed of provider.list()) {
          const { name, namespace, availableReplicas } = deployed.details()
          replicas.set({ function_name: `${name}.${namespace}` }, availableReplicas)
        }
      },
    })
  }

  begin(functionName: string): void {
    this.#started.inc({ function_name: functionName })
  }

  end(functionName: string, status: number, seconds: number): void {
    const labels = { function_name: functionName, code: String(status) }
    this.#invocations.inc(labels)
    this.#seconds.observe(labels, seconds)
    this.#counts.set(functionName, this.invocations(functionName) + 1)
  }

  unknownFunction(): void {
    this.#unknown.inc()
  }

  /** Calls that have ended since this process started. */
  invocations(functionName: string): number {
    return this.#counts.get(functionName) ?? 0
  }

  /** Those of the gateway and of the functions in it, as one exposition. */
  async expose(): Promise<{ contentType: string; text: string }> {
    const all = [await this.#registry.getMetricsAsJSON(), ...(await this.#provider.metrics())]
    const merged = AggregatorRegistry.aggregate(all)
    return { contentType: merged.contentType, text: await merged.metrics() }
  }
}
