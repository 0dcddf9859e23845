import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'
import { SYSTEM_CLOCK, type Clock } from '../clock.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { RecordStore } from '../records/record-store.ts'
import { CandidateStore } from './candidate-store.ts'
import { Collector, type CollectableStore, type CollectorInit } from './collector.ts'
import { createGCMetrics } from './gc-metrics.ts'
import { PeerFollower } from './peer-follower.ts'
import { PIN_PROTOCOL } from './pin-protocol.ts'
import { createPinServer } from './pin-server.ts'
import { PinStore } from './pin-store.ts'
import { PinSync } from './pin-sync.ts'
import { Pins } from './pins.ts'
import { Retention } from './retention.ts'
import { RootGatherer } from './root-gatherer.ts'
import { ROOT_PROTOCOL } from './root-protocol.ts'
import { RootServer } from './root-server.ts'
import { pinRoots, recordRoots, type RootSource } from './root-source.ts'

export interface LifetimeComponents {
  mesh: Mesh
  store: CollectableStore
  records: Pick<RecordStore, 'contents'>
  log: Logger
  registry: Registry
  clock?: Clock
  /** Told of every blob that a collection deleted. */
  onDeleted?: (hash: string) => void
  /** Reasons to keep blobs beside records and pins. */
  sources?: readonly RootSource[]
}

export interface LifetimeInit extends CollectorInit {
  pinsFile: string
  candidatesFile: string
}

/** What decides how long the blobs of a node stay, wired; `parts` are started in order. */
export function composeLifetime(components: LifetimeComponents, init: LifetimeInit) {
  const { mesh, store, records, log, registry, clock = SYSTEM_CLOCK } = components
  const pinStore = new PinStore(init.pinsFile)
  const candidates = new CandidateStore(init.candidatesFile)
  store.watchPuts((hash) => candidates.forget(hash))
  const retention = new Retention({ mesh, store, clock }, init)
  const pins = new Pins({ mesh, store: pinStore, retention, clock })
  const sources = [recordRoots(records), pinRoots(pinStore, clock), ...(components.sources ?? [])]
  const server = new RootServer({ mesh, sources, pins, store })
  const gatherer = new RootGatherer({ mesh, server })
  const metrics = createGCMetrics({ registry, candidates })
  const told = components.onDeleted && { onDeleted: components.onDeleted }
  const collector = new Collector(
    { store, candidates, gatherer, pins, metrics, log, clock, ...told },
    init,
  )
  const sync = new PinSync({ mesh, store: pinStore, clock })
  const pull = (peerId: string, signal: AbortSignal): Promise<number> => sync.pull(peerId, signal)
  const follower = new PeerFollower({ mesh, log, pull }, { what: 'pins' })
  mesh.handle(PIN_PROTOCOL, createPinServer({ store: pinStore, clock }))
  mesh.handle(ROOT_PROTOCOL, server.handle)
  const parts: Startable[] = [follower, collector]
  const close = (): void => {
    pinStore.close()
    candidates.close()
  }
  const isGarbage = (hash: string): boolean => candidates.has(hash)
  return { pins, retention, collector, isGarbage, sync, parts, close }
}
