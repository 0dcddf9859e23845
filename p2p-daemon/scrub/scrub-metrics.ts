import { Counter, Gauge, type Registry } from '../../shared/metrics/metrics.ts'

export type ScrubResult = 'good' | 'bad' | 'failed' | 'gone'

export interface ScrubMetrics {
  blob(result: ScrubResult): void
  bytes(count: number): void
  success(atMs: number): void
}

export function createScrubMetrics(registry: Registry): ScrubMetrics {
  const registers = [registry]
  const blobs = new Counter({
    name: 'bzzz_scrub_blobs_total',
    help: 'Blobs read again, by what was found; failed: the disk did not answer',
    labelNames: ['result'],
    registers,
  })
  for (const result of ['good', 'bad', 'failed', 'gone']) blobs.inc({ result }, 0)
  const bytes = new Counter({
    name: 'bzzz_scrub_bytes_total',
    help: 'Bytes read by the scrub',
    registers,
  })
  const success = new Gauge({
    name: 'bzzz_scrub_last_success_timestamp_seconds',
    help: 'When the whole store was last read without a failed read; 0: never',
    registers,
  })
  return {
    blob: (result) => blobs.inc({ result }),
    bytes: (count) => bytes.inc(count),
    success: (atMs) => success.set(atMs / 1000),
  }
}
