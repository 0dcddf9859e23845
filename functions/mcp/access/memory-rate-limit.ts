import { LRUCache } from 'lru-cache'

import { RATE_KEYS_MAX } from '../constants.ts'
import { cellOf, type Rate, type RateLimit } from './rate-limit.ts'

/** Shared by all replicas in one process, so that scaling a function there multiplies no limit. */
const shared = new LRUCache<string, number>({ max: RATE_KEYS_MAX })

/** Rates counted in this process: for a cluster whose functions all run in one, the embedded. */
export class MemoryRateLimit implements RateLimit {
  readonly #dueAtMs: LRUCache<string, number>
  readonly #now: () => number

  constructor(init: { dueAtMs?: LRUCache<string, number>; now?: () => number } = {}) {
    this.#dueAtMs = init.dueAtMs ?? shared
    this.#now = init.now ?? (() => performance.now())
  }

  take(key: string, rate: Rate): number {
    const { intervalMs, toleranceMs } = cellOf(rate)
    const now = this.#now()
    const dueAtMs = Math.max(this.#dueAtMs.get(key) ?? 0, now)
    const waitMs = dueAtMs - toleranceMs - now
    if (waitMs > 0) return waitMs
    this.#dueAtMs.set(key, dueAtMs + intervalMs)
    return 0
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
