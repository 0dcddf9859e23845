import {
  Counter,
  DURATION_BUCKETS_SECONDS,
  Gauge,
  Histogram,
  type Registry,
} from '../shared/metrics/metrics.ts'
import type { Resolved } from './records/record-lookup.ts'
import type { NodeStatus } from './status.ts'

export interface NodeMetrics {
  onResolve: (seconds: number, source: Resolved['source'] | 'error') => void
}

/** Metrics of the node as a whole; those of one part live with the part. */
export function createNodeMetrics(components: {
  registry: Registry
  status: () => Promise<NodeStatus>
}): NodeMetrics {
  const { registry, status } = components
  const registers = [registry]
  const duration = new Histogram({
    name: 'bzzz_content_resolve_duration_seconds',
    help: 'Time to find the record of an address, by where it was found',
    labelNames: ['source'],
    buckets: DURATION_BUCKETS_SECONDS,
    registers,
  })
  const resolves = new Counter({
    name: 'bzzz_content_resolves_total',
    help: 'Addresses looked up at this node',
    labelNames: ['result'],
    registers,
  })
  const gauge = (name: string, help: string, read: (status: NodeStatus) => number): void => {
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(read(await status()))
      },
    })
  }
  gauge('bzzz_addresses', 'Addresses with a record on this node', (s) => s.records.addresses)
  gauge(
    'bzzz_peer_latency_max_seconds',
    'Round trip to the slowest connected peer; 0 while there is none',
    ({ peers }) => Math.max(0, ...peers.map(({ latencyMs }) => (latencyMs ?? 0) / 1000)),
  )
  gauge('bzzz_mesh_minority', '1 while a quorum of the nodes is out of reach', (s) =>
    s.mesh.partition === 'minority' ? 1 : 0,
  )
  return {
    onResolve: (seconds, source) => {
      if (source !== 'error') duration.observe({ source }, seconds)
      resolves.inc({ result: source === 'error' ? 'failed' : 'found' })
    },
  }
}
