import type { Logger } from '../log/log.ts'
import type { Revocation } from './revocation.ts'

/** From this age on the list is fetched again, beside the request that noticed. */
const REFRESH_AFTER_MS = 3_000

/** A request waits for a newer list rather than be answered from an older one. */
const STALE_MAX_MS = 8_000

/** A source that has not answered by then counts as away. */
const READ_TIMEOUT_MS = 2_000

/** Where revocations are kept: the database, a node. */
export interface RevocationSource {
  name: string
  /** Those that are not over yet. */
  read(signal: AbortSignal): Promise<readonly Revocation[]>
}

export interface RevocationsComponents {
  sources: readonly RevocationSource[]
  log: Logger
}

/**
 * Whether a token was revoked, from lists that are fetched beside the requests.
 *
 * While every source answers, a token works for at most STALE_MAX_MS + READ_TIMEOUT_MS (10 s) after
 * its revocation is there. While one is away, what was learnt stands and nobody waits: a good token
 * is never refused for that, and a revoked one that is known stays refused. What is not over is
 * never forgotten, also when a source has lost it.
 */
export class Revocations {
  readonly #components: RevocationsComponents
  readonly #revoked = new Map<string, number>()
  #readAtMs = Number.NEGATIVE_INFINITY
  #refresh: Promise<void> | undefined
  #complete = true

  constructor(components: RevocationsComponents) {
    this.#components = components
  }

  isRevoked(tokenId: string): boolean | Promise<boolean> {
    // The first time it waits as well: age starts at infinity.
    const ageMs = performance.now() - this.#readAtMs
    if (ageMs <= REFRESH_AFTER_MS) return this.#has(tokenId)
    this.#refresh ??= this.#read().finally(() => (this.#refresh = undefined))
    const wait = this.#complete && ageMs > STALE_MAX_MS
    return wait ? this.#refresh.then(() => this.#has(tokenId)) : this.#has(tokenId)
  }

  #has(tokenId: string): boolean {
    return (this.#revoked.get(tokenId) ?? 0) > Date.now()
  }

  async #read(): Promise<void> {
    const { sources, log } = this.#components
    const beganAtMs = performance.now()
    const complete = await Promise.all(
      sources.map(async (source) => {
        try {
          for (const { tokenId, expiresMs } of await inTime(source)) {
            this.#revoked.set(tokenId, expiresMs)
          }
          return true
        } catch (error) {
          log.warn({ err: error, source: source.name }, 'revocations not refreshed')
          return false
        }
      }),
    )
    const now = Date.now()
    for (const [tokenId, expiresMs] of this.#revoked) {
      if (expiresMs <= now) this.#revoked.delete(tokenId)
    }
    this.#complete = complete.every(Boolean)
    this.#readAtMs = beganAtMs
  }
}

/** A source may not notice its signal at once; the list does not wait for that. */
async function inTime(source: RevocationSource): Promise<readonly Revocation[]> {
  const signal = AbortSignal.timeout(READ_TIMEOUT_MS)
  const late = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
  return Promise.race([source.read(signal), late])
}
