import { LRUCache } from 'lru-cache'

import type { Cache } from './cache.ts'

/** What one process keeps; records are about 1 KiB each, so this is some 20 MiB. */
const ENTRIES_MAX = 20_000

/** A cache of this process alone. It answers at once, without a turn of the event loop. */
export class MemoryCache<Value extends object> implements Cache<Value> {
  readonly #entries = new LRUCache<string, Value>({ max: ENTRIES_MAX })

  get(key: string): Value | undefined {
    return this.#entries.get(key)
  }

  set(key: string, value: Value, ttlMs: number): void {
    this.#entries.set(key, value, { ttl: ttlMs })
  }

  delete(key: string): void {
    this.#entries.delete(key)
  }

  close(): Promise<void> {
    this.#entries.clear()
    return Promise.resolve()
  }
}
