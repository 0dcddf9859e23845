import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { createScrubMetrics } from './scrub-metrics.ts'
import { ScrubProgress } from './scrub-progress.ts'
import { Scrubber, type ScrubberInit } from './scrubber.ts'

export interface ScrubCompositionComponents {
  store: Pick<BlobStore, 'list' | 'verify' | 'usage'>
  repair: (hash: string, reason: 'scrub') => void
  log: Logger
  registry: Registry
}

/** The scrub of a node, wired. */
export function composeScrub(
  { store, repair, log, registry }: ScrubCompositionComponents,
  init: ScrubberInit & { scrubFile: string },
) {
  const progress = new ScrubProgress(init.scrubFile)
  const metrics = createScrubMetrics(registry)
  const scrubber = new Scrubber({ store, progress, repair, metrics, log }, init)
  const parts: Startable[] = [scrubber]
  return { scrubber, parts, close: () => progress.close() }
}
