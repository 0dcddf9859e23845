import pg from 'pg'

import type { Logger } from '../../../shared/log/log.ts'
import {
  IDLE_STATE_KEPT_MS,
  SETTLED_KEPT_MS,
  STATE_KEPT_MS,
  STORE_TIMEOUT_MS,
} from './constants.ts'
import { decodeVerdict, encodeBounds, type EncodedVerdict } from './encoding.ts'
import type { Claim, LimitStore, Settlement, Verdict } from './limit-store.ts'

/** One question at a time takes calls in while another ends them. */
const CONNECTIONS_MAX = 2

/**
 * Limits of every replica that is given the same PostgreSQL. One statement checks and takes a whole
 * batch; its rows are locked from the first look to the commit, by the server alone, so that a
 * replica that stands still holds up nobody. Commits do not wait for the disk: a crash of the
 * server forgets what was counted in its last second.
 */
export class PostgresLimitStore implements LimitStore {
  readonly #pool: pg.Pool
  readonly #now: (() => number) | undefined

  /** `now` stands in for the clock of the server. */
  constructor({ log }: { log: Logger }, init: { url: string; now?: () => number }) {
    this.#now = init.now
    this.#pool = new pg.Pool({
      connectionString: init.url,
      max: CONNECTIONS_MAX,
      connectionTimeoutMillis: STORE_TIMEOUT_MS,
      statement_timeout: STORE_TIMEOUT_MS,
      query_timeout: STORE_TIMEOUT_MS,
      keepAlive: true,
      application_name: 'bzzz-limits',
    })
    this.#pool.on('connect', (client) => client.on('error', () => undefined))
    this.#pool.on('error', (error) => log.warn({ reason: error.message }, 'limits connection lost'))
  }

  async reserve(
    claims: readonly Claim[],
    ttlMs: number,
    ended: readonly Settlement[] = [],
  ): Promise<Verdict[]> {
    if (claims.length === 0) {
      await this.settle(ended)
      return []
    }
    const batch = { ...encodeClaims(claims), ended: ended.map(encodeSettlement) }
    const { rows } = await this.#pool.query<{ verdicts: EncodedVerdict[] }>({
      name: 'llm_limit_reserve',
      text: 'select llm_limit_reserve($1, $2, $3, $4) as verdicts',
      values: [JSON.stringify(batch), ttlMs, SETTLED_KEPT_MS, this.#now?.() ?? null],
    })
    return rows[0]!.verdicts.map(decodeVerdict)
  }

  async settle(settlements: readonly Settlement[]): Promise<void> {
    if (settlements.length === 0) return
    const ended = settlements.map(encodeSettlement)
    await this.#pool.query({
      name: 'llm_limit_settle',
      text: 'select llm_limit_settle($1, $2, $3)',
      values: [JSON.stringify(ended), SETTLED_KEPT_MS, this.#now?.() ?? null],
    })
  }

  /** Claims that somebody clears away at this moment are left to him. */
  async renew(ids: readonly string[], ttlMs: number): Promise<void> {
    await this.#pool.query(
      `update llm_limit_claims set expires_ms =
         coalesce($3, floor(extract(epoch from clock_timestamp()) * 1000)::bigint) + $2
       where id in (
         select id from llm_limit_claims where id = any($1)
         for update skip locked)`,
      [ids, ttlMs, this.#now?.() ?? null],
    )
  }

  /** A key that is locked now counts again and is left alone. */
  async prune(): Promise<void> {
    const nowMs = this.#now?.() ?? Date.now()
    const [idle, old] = [IDLE_STATE_KEPT_MS, STATE_KEPT_MS].map((ms) =>
      Math.floor((nowMs - ms) / 1000),
    )
    await this.#pool.query('delete from llm_limit_settled where until_ms <= $1', [nowMs])
    await this.#pool.query(
      `delete from llm_limit_states where key in (
         select key from llm_limit_states
         where open = 0 and (slice < $2 or (slice < $1 and month_spent = 0 and month_held = 0))
         for update skip locked)`,
      [idle, old],
    )
  }

  async ping(): Promise<void> {
    await this.#pool.query('select from llm_limit_states limit 1')
  }

  async close(): Promise<void> {
    await this.#pool.end()
  }
}

function encodeSettlement({ id, keys, tokens, nanoUsd }: Settlement) {
  return { id, keys, t: tokens, n: Number(nanoUsd) }
}

/** Each key and its bounds once, with claims that point at them, counted from 1. */
function encodeClaims(claims: readonly Claim[]) {
  const indexes = new Map<string, number>()
  const bounds: Record<string, number>[] = []
  const encoded = claims.map(({ id, shares, tokens, nanoUsd, isFinal = false }) => ({
    ...(!isFinal && { id }),
    t: tokens,
    n: isFinal ? 0 : Number(nanoUsd),
    s: shares.map((share) => {
      const known = indexes.get(share.key)
      if (known !== undefined) return known
      bounds.push(encodeBounds(share.bounds))
      indexes.set(share.key, bounds.length)
      return bounds.length
    }),
  }))
  return { keys: [...indexes.keys()], bounds, claims: encoded }
}
