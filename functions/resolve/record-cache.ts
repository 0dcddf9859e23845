import type { Cache } from '../../shared/cache/cache.ts'
import type { CallOptions, DaemonClient, Resolution } from '../../shared/daemon/daemon-client.ts'
import {
  Counter,
  DURATION_BUCKETS_SECONDS,
  Histogram,
  type Registry,
} from '../../shared/metrics/metrics.ts'

/** A resolution with what every answer about it carries, made once. */
export interface CachedResolution extends Resolution {
  headers: Record<string, string>
  /** The record as JSON: the answer to `?record`. */
  json: string
}

export interface RecordCacheComponents {
  cache: Cache<CachedResolution>
  daemon: Pick<DaemonClient, 'resolve'>
  registry: Registry
}

/**
 * Records by address, from the cache while they are young, else from a daemon. A write through
 * this function is seen at once by its replicas that share the cache; one that went through a
 * daemon directly is seen when the entry has aged out, or at once with `Cache-Control: no-cache`.
 */
export class RecordCache {
  readonly #components: RecordCacheComponents
  readonly #ttlMs: number
  readonly #resolves: Counter<'result'>
  readonly #duration: Histogram<'cache'>

  constructor(components: RecordCacheComponents, init: { ttlMs: number }) {
    this.#components = components
    this.#ttlMs = init.ttlMs
    const registers = [components.registry]
    this.#resolves = new Counter({
      name: 'bzzz_address_resolves_total',
      help: 'Addresses looked up',
      labelNames: ['result'],
      registers,
    })
    this.#duration = new Histogram({
      name: 'bzzz_address_resolve_duration_seconds',
      help: 'Time to find the record of an address',
      labelNames: ['cache'],
      buckets: DURATION_BUCKETS_SECONDS,
      registers,
    })
  }

  /**
   * What is remembered of an address, which is canonical, with `?v=` or `?at=` where a version is
   * asked for. Most answers end here, so it costs no more than the look.
   */
  async recall(address: string): Promise<CachedResolution | undefined> {
    const startedAt = performance.now()
    const known = this.#ttlMs === 0 ? undefined : await this.#components.cache.get(address)
    if (known) this.#observe(startedAt, 'hit', 'found')
    return known
  }

  /** Asks a daemon. @throws what it answers */
  async resolve(
    address: string,
    options: CallOptions & { fresh?: boolean },
  ): Promise<CachedResolution> {
    const startedAt = performance.now()
    try {
      const resolution = prepare(await this.#components.daemon.resolve(address, options))
      await this.#keep(address, resolution)
      this.#observe(startedAt, 'miss', 'found')
      return resolution
    } catch (error) {
      this.#observe(startedAt, 'miss', 'failed')
      throw error
    }
  }

  /** Takes over what a write has just made of an address. */
  store(address: string, resolution: Resolution): Promise<void> {
    return this.#keep(address, prepare(resolution))
  }

  async #keep(address: string, resolution: CachedResolution): Promise<void> {
    if (this.#ttlMs > 0) await this.#components.cache.set(address, resolution, this.#ttlMs)
  }

  #observe(startedAt: number, cache: 'hit' | 'miss', result: 'found' | 'failed'): void {
    this.#duration.observe({ cache }, (performance.now() - startedAt) / 1000)
    this.#resolves.inc({ result })
  }
}

function prepare({ record, forks }: Resolution): CachedResolution {
  const headers: Record<string, string> = {
    'bzzz-address': record.address,
    'bzzz-version': String(record.version),
    'bzzz-author': record.author,
    'last-modified': new Date(record.timestamp).toUTCString(),
  }
  if (forks > 0) headers['bzzz-fork'] = String(forks)
  return { record, forks, headers, json: JSON.stringify({ ...record, forks }) }
}
