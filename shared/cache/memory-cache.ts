import { LRUCache } from 'lru-cache'

import { MiB } from '../limits.ts'
import type { Cache } from './cache.ts'

/** What one process keeps; records are below 1 KiB each, so this is tens of thousands. */
const CACHE_BYTES_MAX = 16 * MiB

/** A cache of this process alone. */
export class MemoryCache implements Cache {
  readonly #entries = new LRUCache<string, string>({
    maxSize: CACHE_BYTES_MAX,
    sizeCalculation: (value, key) => 2 * (value.length + key.length) + 1,
  })

  get(key: string): Promise<string | undefined> {
    return Promise.resolve(this.#entries.get(key))
  }

  set(key: string, value: string, ttlMs: number): Promise<void> {
    this.#entries.set(key, value, { ttl: ttlMs })
    return Promise.resolve()
  }

  delete(key: string): Promise<void> {
    this.#entries.delete(key)
    return Promise.resolve()
  }

  close(): Promise<void> {
    this.#entries.clear()
    return Promise.resolve()
  }
}
