import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'

export { Counter, Gauge, Histogram, Registry }

/** Seconds; from a cached answer (0.5 ms) to a transfer of many gigabytes. */
export const DURATION_BUCKETS_SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
]

/** A registry with the process metrics and `bzzz_build_info`. One for each process. */
export function createRegistry(init: { component: string; version: string }): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'bzzz_build_info',
    help: 'Always 1; the labels say what runs here',
    labelNames: ['component', 'version', 'node'],
    registers: [registry],
  }).set({ component: init.component, version: init.version, node: process.version }, 1)
  return registry
}
