import { hashBytes } from '../../shared/blob/hash.ts'
import { createSilentLogger } from '../../shared/log/log.ts'
import { Registry } from '../../shared/metrics/metrics.ts'
import { encodeRecord, recordHash, type AddressRecord } from '../../shared/record/record.ts'
import type { Clock } from '../../p2p-daemon/clock.ts'
import { composeLifetime } from '../../p2p-daemon/lifetime/compose.ts'
import { exchangeRoots } from '../../p2p-daemon/lifetime/exchange-roots.ts'
import { threadRoots } from '../../p2p-daemon/lifetime/thread-roots.ts'
import { RecordStore } from '../../p2p-daemon/records/record-store.ts'
import { MemoryStore } from '../../p2p-daemon/store/memory-store.ts'
import type { MemoryMesh, MemoryNetwork } from './memory-mesh.ts'

/** Time that stands still unless a test moves it. */
export class ManualClock implements Clock {
  nowMs = 1_800_000_000_000

  now(): number {
    return this.nowMs
  }

  sleep(_ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((_resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    })
  }
}

export interface LifetimeNode {
  peerId: string
  mesh: MemoryMesh
  store: MemoryStore
  records: RecordStore
  lifetime: ReturnType<typeof composeLifetime>
  registry: Registry
  close(): void
}

/** What decides about the blobs of one node, on a network and with databases in memory. */
export function createLifetimeNode(
  network: MemoryNetwork,
  init: { peerId: string; clock: Clock; graceMs: number },
): LifetimeNode {
  const { peerId, clock, graceMs } = init
  const mesh = network.join(peerId)
  const store = new MemoryStore()
  const records = new RecordStore(':memory:')
  const registry = new Registry()
  const lifetime = composeLifetime(
    {
      ...{ mesh, store, records, registry, clock, log: createSilentLogger() },
      sources: [threadRoots, exchangeRoots].map((roots) => roots({ records, blobs: store })),
    },
    { pinsFile: ':memory:', candidatesFile: ':memory:', graceMs, periodMs: 0 },
  )
  const close = (): void => {
    lifetime.close()
    records.close()
  }
  return { peerId, mesh, store, records, lifetime, registry, close }
}

/** The first version of an address that names `content`; who signed it does not matter here. */
export function recordOf(content: Buffer, path = hashBytes(content)): AddressRecord {
  return {
    address: `bzzz://agent@apollo/${path}`,
    version: 1,
    hash: hashBytes(content),
    sizeBytes: content.length,
    mediaType: 'text/plain',
    previous: null,
    author: 'somebody',
    timestampMs: 1_800_000_000_000,
    signature: '',
  }
}

/** Holds a record as a node does: as a blob, then in the record store. */
export async function keepRecord(node: LifetimeNode, record: AddressRecord): Promise<string> {
  await node.store.put(encodeRecord(record))
  node.records.add(record)
  return recordHash(record)
}
