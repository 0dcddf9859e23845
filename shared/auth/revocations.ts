import type { BzzzDatabase } from '../db/database.ts'
import type { Logger } from '../log/log.ts'

/**
 * How old the list may be: a revoked token works this much longer at most while the database
 * answers. While it does not, the last list stands, so an outage refuses nobody.
 */
const STALE_AFTER_MS = 5_000

export interface RevocationsComponents {
  db: BzzzDatabase
  log: Logger
}

/** Whether a token was revoked, from a list that is refreshed in the background of requests. */
export class Revocations {
  readonly #components: RevocationsComponents
  #revoked: ReadonlySet<string> = new Set()
  #fetchedAtMs = Number.NEGATIVE_INFINITY
  #refresh: Promise<void> | undefined

  constructor(components: RevocationsComponents) {
    this.#components = components
  }

  isRevoked(tokenId: string): boolean | Promise<boolean> {
    if (performance.now() - this.#fetchedAtMs <= STALE_AFTER_MS) return this.#revoked.has(tokenId)
    this.#refresh ??= this.#fetch().finally(() => (this.#refresh = undefined))
    // The very first answer waits for a list; later ones use what is there.
    const never = this.#fetchedAtMs === Number.NEGATIVE_INFINITY
    return never ? this.#refresh.then(() => this.#revoked.has(tokenId)) : this.#revoked.has(tokenId)
  }

  async #fetch(): Promise<void> {
    const { db, log } = this.#components
    try {
      const rows = await db
        .selectFrom('revoked_tokens')
        .select('token_id')
        .where('expires_at', '>', new Date())
        .execute()
      this.#revoked = new Set(rows.map((row) => row.token_id))
    } catch (error) {
      log.warn({ err: error }, 'revocations not refreshed')
    }
    this.#fetchedAtMs = performance.now()
  }
}
