import {
  Counter,
  DURATION_BUCKETS_SECONDS,
  Gauge,
  Histogram,
  type Registry,
} from '../../shared/metrics/metrics.ts'

export type Operation = 'put' | 'get' | 'provide' | 'find_providers'
export type OperationResult = 'ok' | 'none' | 'timeout' | 'error'

export interface DHTMetrics {
  duration: Histogram<'op'>
  lookups: Counter<'op' | 'result'>
  refused: Counter
}

export function createDHTMetrics(registry: Registry, read: { peers: () => number }): DHTMetrics {
  const registers = [registry]
  new Gauge({
    name: 'bzzz_dht_routing_table_peers',
    help: 'Peers in the routing table',
    registers,
    collect() {
      this.set(read.peers())
    },
  })
  return {
    duration: new Histogram({
      name: 'bzzz_dht_lookup_duration_seconds',
      help: 'Time of an operation on the distributed table',
      labelNames: ['op'],
      buckets: DURATION_BUCKETS_SECONDS,
      registers,
    }),
    lookups: new Counter({
      name: 'bzzz_dht_lookups_total',
      help: 'Operations on the distributed table',
      labelNames: ['op', 'result'],
      registers,
    }),
    refused: new Counter({
      name: 'bzzz_dht_records_refused_total',
      help: 'Records of peers that did not hold: unreadable, forged, misplaced or not allowed',
      registers,
    }),
  }
}
