import type { JSONWebKeySet } from 'jose'
import { request } from 'undici'
import { z } from 'zod'

import type { BzzzDatabase } from '../db/database.ts'
import { DaemonUnavailableError } from '../errors.ts'
import {
  REVOCATIONS_MAX,
  STATEMENT_CHARS_MAX,
  verifyRevocation,
  type Revocation,
} from './revocation.ts'
import type { RevocationSource } from './revocations.ts'

export function databaseSource(db: BzzzDatabase): RevocationSource {
  return {
    name: 'database',
    read: async () => {
      const rows = await db
        .selectFrom('revoked_tokens')
        .select(['token_id', 'expires_at'])
        .where('expires_at', '>', new Date())
        .limit(REVOCATIONS_MAX)
        .execute()
      return rows.map((row) => ({ tokenId: row.token_id, expiresMs: row.expires_at.getTime() }))
    },
  }
}

const listSchema = z.object({
  statements: z.array(z.string().max(STATEMENT_CHARS_MAX)).max(REVOCATIONS_MAX),
})

/**
 * The list of the first daemon that answers. Its statements are verified here: a daemon is believed
 * no more than the key that signed them.
 */
export class DaemonSource implements RevocationSource {
  readonly name = 'daemon'
  readonly #endpoints: readonly string[]
  readonly #readKeys: () => Promise<JSONWebKeySet>
  /** By statement, so that each is verified once; null for those that do not hold. */
  #known = new Map<string, Revocation | null>()
  #etag: string | undefined

  constructor(
    { readKeys }: { readKeys: () => Promise<JSONWebKeySet> },
    init: { endpoints: readonly string[] },
  ) {
    this.#readKeys = readKeys
    this.#endpoints = init.endpoints
  }

  async read(signal: AbortSignal): Promise<readonly Revocation[]> {
    let last: unknown
    for (const endpoint of this.#endpoints) {
      try {
        return await this.#readFrom(endpoint, signal)
      } catch (error) {
        if (signal.aborted) throw error
        last = error
      }
    }
    throw new DaemonUnavailableError('No daemon tells its revocations.', { cause: last })
  }

  async #readFrom(endpoint: string, signal: AbortSignal): Promise<readonly Revocation[]> {
    const { statusCode, headers, body } = await request(
      `${endpoint.replace(/\/+$/, '')}/v1/revocations`,
      { signal, ...(this.#etag !== undefined && { headers: { 'if-none-match': this.#etag } }) },
    )
    if (statusCode === 304) {
      await body.dump()
      return this.#holding()
    }
    if (statusCode !== 200) {
      await body.dump()
      throw new DaemonUnavailableError(`${endpoint} answered ${statusCode}.`)
    }
    const { statements } = listSchema.parse(await body.json())
    await this.#learn(statements)
    this.#etag = typeof headers.etag === 'string' ? headers.etag : undefined
    return this.#holding()
  }

  async #learn(statements: readonly string[]): Promise<void> {
    const keys = await this.#readKeys()
    const known = new Map<string, Revocation | null>()
    for (const statement of statements) {
      const before = this.#known.get(statement)
      known.set(statement, before ?? (await verifyRevocation(keys, statement).catch(() => null)))
    }
    this.#known = known
  }

  #holding(): Revocation[] {
    return [...this.#known.values()].filter((revocation) => revocation !== null)
  }
}
