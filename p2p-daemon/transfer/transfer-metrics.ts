import {
  Counter,
  DURATION_BUCKETS_SECONDS,
  Gauge,
  Histogram,
  type Registry,
} from '../../shared/metrics/metrics.ts'

export interface TransferMetrics {
  bytes: Counter<'transport' | 'direction'>
  duration: Histogram<'transport'>
  connections: Gauge<'direction'>
  fallbacks: Counter
}

const metricsOf = new WeakMap<Registry, TransferMetrics>()

/** The same for every transport of a node: each counts under a label of its own. */
export function transferMetrics(registry: Registry): TransferMetrics {
  const present = metricsOf.get(registry)
  if (present) return present
  const metrics = createMetrics(registry)
  metricsOf.set(registry, metrics)
  return metrics
}

function createMetrics(registry: Registry): TransferMetrics {
  const registers = [registry]
  return {
    bytes: new Counter({
      name: 'bzzz_transfer_bytes_total',
      help: 'Bytes of blobs moved between nodes',
      labelNames: ['transport', 'direction'],
      registers,
    }),
    duration: new Histogram({
      name: 'bzzz_transfer_duration_seconds',
      help: 'From the request for a blob until its last byte was taken, of those that got so far',
      labelNames: ['transport'],
      buckets: DURATION_BUCKETS_SECONDS,
      registers,
    }),
    connections: new Gauge({
      name: 'bzzz_transfer_connections',
      help: 'Open connections for bulk transfer',
      labelNames: ['direction'],
      registers,
    }),
    fallbacks: new Counter({
      name: 'bzzz_transfer_fallbacks_total',
      help: 'Transfers that took a stream because the bulk port of the peer failed',
      registers,
    }),
  }
}
