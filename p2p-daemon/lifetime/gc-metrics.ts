import { Counter, Gauge, type Registry } from '../../shared/metrics/metrics.ts'
import type { CandidateStore } from './candidate-store.ts'

export interface GCMetrics {
  run(outcome: string, seconds: number, atMs: number): void
  deleted(bytes: number): void
}

export function createGCMetrics(components: {
  registry: Registry
  candidates: Pick<CandidateStore, 'total'>
}): GCMetrics {
  const { registry, candidates } = components
  const registers = [registry]
  const runs = new Counter({
    name: 'bzzz_gc_runs_total',
    help: 'Collections that were not dry, by how they ended',
    labelNames: ['outcome'],
    registers,
  })
  const blobs = new Counter({
    name: 'bzzz_gc_deleted_blobs_total',
    help: 'Blobs deleted because nothing referred to them for the whole grace',
    registers,
  })
  const bytes = new Counter({
    name: 'bzzz_gc_deleted_bytes_total',
    help: 'Bytes of these blobs',
    registers,
  })
  const duration = new Gauge({
    name: 'bzzz_gc_last_duration_seconds',
    help: 'How long the last collection took',
    registers,
  })
  const success = new Gauge({
    name: 'bzzz_gc_last_success_timestamp_seconds',
    help: 'When a collection last went through; 0: never since the start',
    registers,
  })
  new Gauge({
    name: 'bzzz_gc_candidate_bytes',
    help: 'Bytes of blobs that the last mark found unreferenced and that are not deleted yet',
    registers,
    collect() {
      this.set(candidates.total().bytes)
    },
  })
  return {
    run: (outcome, seconds, atMs) => {
      runs.inc({ outcome })
      duration.set(seconds)
      if (outcome === 'done') success.set(atMs / 1000)
    },
    deleted: (count) => {
      blobs.inc()
      bytes.inc(count)
    },
  }
}
