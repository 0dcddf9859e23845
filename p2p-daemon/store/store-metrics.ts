import {
  Counter,
  DURATION_BUCKETS_SECONDS,
  Gauge,
  Histogram,
} from '../../shared/metrics/metrics.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'

export type BlobOperation = 'put' | 'get' | 'delete' | 'verify' | 'compact'

/** What the store counts. Without a registry nothing is kept. */
export interface StoreMetrics {
  io(operation: BlobOperation, seconds: number, bytes: number): void
  fsync(seconds: number): void
  corrupt(): void
  storeBytes(bytes: number): void
}

export const NO_STORE_METRICS: StoreMetrics = {
  io: () => undefined,
  fsync: () => undefined,
  corrupt: () => undefined,
  storeBytes: () => undefined,
}

export function createStoreMetrics(registry: Registry): StoreMetrics {
  const registers = [registry]
  const duration = new Histogram({
    name: 'bzzz_blob_io_duration_seconds',
    help: 'Time of one operation of the blob store, to the last byte',
    labelNames: ['op'],
    buckets: DURATION_BUCKETS_SECONDS,
    registers,
  })
  const bytes = new Counter({
    name: 'bzzz_blob_io_bytes_total',
    help: 'Blob bytes moved by the blob store',
    labelNames: ['op'],
    registers,
  })
  const fsync = new Histogram({
    name: 'bzzz_blob_fsync_duration_seconds',
    help: 'Time of one sync to the disk',
    buckets: DURATION_BUCKETS_SECONDS,
    registers,
  })
  const corrupt = new Counter({
    name: 'bzzz_blob_corrupt_total',
    help: 'Copies that no longer had their hash and went into quarantine',
    registers,
  })
  const stored = new Gauge({
    name: 'bzzz_store_bytes',
    help: 'Bytes of the blobs stored on this node',
    registers,
  })
  return {
    io: (op, seconds, count) => {
      duration.observe({ op }, seconds)
      bytes.inc({ op }, count)
    },
    fsync: (seconds) => fsync.observe(seconds),
    corrupt: () => corrupt.inc(),
    storeBytes: (count) => stored.set(count),
  }
}

export function secondsSince(startedMs: number): number {
  return (performance.now() - startedMs) / 1000
}
