import { Counter, Gauge, Histogram, type Registry } from '../../shared/metrics/metrics.ts'
import type { Peer } from './mesh.ts'

/** Seconds; from a connection refused at once to one that held for weeks. */
const CONNECTION_BUCKETS_SECONDS = [1, 10, 60, 600, 3600, 21_600, 86_400, 604_800]

export interface MeshMetrics {
  connects: Counter<'result'>
  disconnects: Counter<'reason'>
  connectionDuration: Histogram
  requests: Counter<'protocol' | 'result'>
  violations: Counter<'protocol'>
}

export function createMeshMetrics(
  registry: Registry,
  read: {
    connections: () => { inbound: number; outbound: number }
    peers: () => readonly Pick<Peer, 'link'>[]
    expectedPeers: () => number
  },
): MeshMetrics {
  const registers = [registry]
  new Gauge({
    name: 'bzzz_peer_connections',
    help: 'Open connections to peers',
    labelNames: ['direction'],
    registers,
    collect() {
      const { inbound, outbound } = read.connections()
      this.set({ direction: 'inbound' }, inbound)
      this.set({ direction: 'outbound' }, outbound)
    },
  })
  new Gauge({
    name: 'bzzz_peer_links',
    help: 'Peers that are here, by how they are reached',
    labelNames: ['link'],
    registers,
    collect() {
      const peers = read.peers()
      const relayed = peers.filter(({ link }) => link === 'relayed').length
      this.set({ link: 'direct' }, peers.length - relayed)
      this.set({ link: 'relayed' }, relayed)
    },
  })
  new Gauge({
    name: 'bzzz_peers_expected',
    help: 'Peers on the allow-list without this node',
    registers,
    collect() {
      this.set(read.expectedPeers())
    },
  })
  return {
    connects: new Counter({
      name: 'bzzz_peer_connects_total',
      help: 'Peers that joined, were denied or did not say who they are',
      labelNames: ['result'],
      registers,
    }),
    disconnects: new Counter({
      name: 'bzzz_peer_disconnects_total',
      help: 'Peers that left',
      labelNames: ['reason'],
      registers,
    }),
    connectionDuration: new Histogram({
      name: 'bzzz_peer_connection_duration_seconds',
      help: 'How long peers stayed',
      buckets: CONNECTION_BUCKETS_SECONDS,
      registers,
    }),
    ...createRequestCounters(registers),
  }
}

function createRequestCounters(
  registers: Registry[],
): Pick<MeshMetrics, 'requests' | 'violations'> {
  return {
    requests: new Counter({
      name: 'bzzz_peer_requests_total',
      help: 'Requests sent to peers',
      labelNames: ['protocol', 'result'],
      registers,
    }),
    violations: new Counter({
      name: 'bzzz_peer_violations_total',
      help: 'Streams and requests of peers that did not follow the protocol, or held forged records',
      labelNames: ['protocol'],
      registers,
    }),
  }
}
