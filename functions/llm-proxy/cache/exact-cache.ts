import { LRUCache } from 'lru-cache'

import { hashBytes } from '../../../shared/blob/hash.ts'
import { Counter, Gauge, type Registry } from '../../../shared/metrics/metrics.ts'
import type { UpstreamsConfig } from '../upstreams/upstream-config.ts'

declare global {
  /** As Node has it; TypeScript does not know yet. */
  interface JSON {
    rawJSON(text: string): object
    isRawJSON(value: object): boolean
  }
}

/** A longer answer would push out a hundred others. */
export const CACHED_BYTES_MAX = 4 * 1024 * 1024

/** What an entry costs beside its bytes. */
const ENTRY_BYTES = 512

/** Answers that may be given twice: the others are stored by the provider, or made at random. */
const CACHED_PATHS = new Set(['/chat/completions', '/completions', '/embeddings', '/moderations'])

/** An answer as its caller got it. */
export interface CachedAnswer {
  mediaType: string
  bytes: Buffer
  upstream: string
  model: string
}

type CacheSettings = UpstreamsConfig['cache']

/**
 * Answers to requests that are the same but for space and the order of keys, for the same project
 * and route. A stream is given again as the bytes that it was.
 */
export class ExactCache {
  readonly #settings: () => CacheSettings
  readonly #lookups: Counter<'result'>
  #current: CacheSettings | null = null
  #entries: LRUCache<string, CachedAnswer> | null = null

  constructor(components: { settings: () => CacheSettings; registry: Registry }) {
    this.#settings = components.settings
    const registers = [components.registry]
    this.#lookups = new Counter({
      name: 'bzzz_llm_cache_lookups_total',
      help: 'Calls looked up in the exact cache',
      labelNames: ['result'],
      registers,
    })
    const bytes: Gauge = new Gauge({
      name: 'bzzz_llm_cache_bytes',
      help: 'Memory that answers in the exact cache take',
      registers,
      collect: () => bytes.set(this.#entries?.calculatedSize ?? 0),
    })
  }

  /** Null where nothing is to be kept or found: it is off, or the call is not one for it. */
  keyOf(call: { project: string; path: string; bytes: Buffer; control: string }): string | null {
    if (!this.#store() || !CACHED_PATHS.has(call.path)) return null
    if (/no-cache|no-store/.test(call.control)) return null
    const request = canonical(call.bytes)
    if (request === null) return null
    return hashBytes(Buffer.from(`${call.project}\n${call.path}\n${request}`))
  }

  find(key: string): CachedAnswer | undefined {
    const found = this.#store()?.get(key)
    this.#lookups.inc({ result: found ? 'hit' : 'miss' })
    return found
  }

  keep(key: string, answer: CachedAnswer): void {
    if (answer.bytes.length <= CACHED_BYTES_MAX) this.#store()?.set(key, answer)
  }

  /** A new configuration begins with nothing. */
  #store(): LRUCache<string, CachedAnswer> | null {
    const settings = this.#settings()
    if (settings === this.#current) return this.#entries
    this.#current = settings
    this.#entries = settings.enabled
      ? new LRUCache({
          max: settings.entries,
          maxSize: Math.max(settings.bytes, 1),
          sizeCalculation: ({ bytes }) => bytes.length + ENTRY_BYTES,
          ttl: settings.ttl,
        })
      : null
    return this.#entries
  }
}

/** Null for what is nested too deep, or is no JSON. */
function canonical(bytes: Buffer): string | null {
  try {
    const request: unknown = JSON.parse(bytes.toString(), exactly)
    return JSON.stringify(request, (_key, value: unknown) => sorted(value))
  } catch {
    return null
  }
}

/** A number that JavaScript would change stays as written: two long seeds are not the same. */
function exactly(_key: string, value: unknown, context?: { source?: string }): unknown {
  const source = context?.source
  if (typeof value !== 'number' || source === undefined || String(value) === source) return value
  return JSON.rawJSON(source)
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  if (JSON.isRawJSON(value)) return value
  return Object.fromEntries(
    Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : Number(a > b))),
  )
}
