import { Redis, type Result } from 'ioredis'

import type { Logger } from '../../../shared/log/log.ts'
import { STORE_TIMEOUT_MS } from './constants.ts'
import { decodeVerdict, encodeBounds, type EncodedVerdict } from './encoding.ts'
import type { Claim, LimitStore, Settlement, Verdict } from './limit-store.ts'
import { KEY_PREFIX, RENEW, RESERVE, SETTLE } from './redis-scripts.ts'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    llmReserve(prefix: string, open: string, input: string): Result<string, Context>
    llmSettle(prefix: string, open: string, input: string): Result<number, Context>
    llmRenew(prefix: string, open: string, input: string): Result<number, Context>
  }
}

/** Pause before the n-th attempt to come back: 50 ms, 100 ms ... at most this. */
const RECONNECT_PAUSE_MS_MAX = 1_000

/** Open claims by the time of their expiry. */
const OPEN_KEY = `${KEY_PREFIX}open`

/**
 * Limits of every replica that is given the same Redis or Redis Cluster. One script checks and
 * takes a whole batch, so nothing comes between. What Redis loses in a crash was not counted: keep
 * its append-only file where budgets matter.
 */
export class RedisLimitStore implements LimitStore {
  readonly #redis: Redis
  readonly #now: (() => number) | undefined
  #away = false
  /** The first connection; a question that comes before it is there waits for it. */
  #connecting: Promise<void> = Promise.resolve()

  /** `now` stands in for the clock of the server. */
  constructor({ log }: { log: Logger }, init: { url: string; now?: () => number }) {
    this.#now = init.now
    this.#redis = new Redis(init.url, {
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      connectTimeout: STORE_TIMEOUT_MS,
      commandTimeout: STORE_TIMEOUT_MS,
      lazyConnect: true,
      retryStrategy: (attempt) => Math.min(attempt * 50, RECONNECT_PAUSE_MS_MAX),
      scripts: {
        llmReserve: { numberOfKeys: 2, lua: RESERVE },
        llmSettle: { numberOfKeys: 2, lua: SETTLE },
        llmRenew: { numberOfKeys: 2, lua: RENEW },
      },
    })
    this.#redis.on('error', (error: Error) => {
      if (!this.#away) log.warn({ reason: error.message }, 'the store of limits is away')
      this.#away = true
    })
    this.#redis.on('ready', () => (this.#away = false))
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
    const settlements = ended.map(encodeSettlement)
    const input = { ttl: ttlMs, claims: claims.map(encodeClaim), settlements }
    await this.#connected()
    const answer = await this.#redis.llmReserve(KEY_PREFIX, OPEN_KEY, this.#encode(input))
    return (JSON.parse(answer) as EncodedVerdict[]).map(decodeVerdict)
  }

  async settle(settlements: readonly Settlement[]): Promise<void> {
    if (settlements.length === 0) return
    const input = { settlements: settlements.map(encodeSettlement) }
    await this.#connected()
    await this.#redis.llmSettle(KEY_PREFIX, OPEN_KEY, this.#encode(input))
  }

  async renew(ids: readonly string[], ttlMs: number): Promise<void> {
    await this.#connected()
    await this.#redis.llmRenew(KEY_PREFIX, OPEN_KEY, this.#encode({ ids, ttl: ttlMs }))
  }

  /** Every key has a time to live. */
  prune(): Promise<void> {
    return Promise.resolve()
  }

  async ping(): Promise<void> {
    await this.#connected()
    await this.#redis.ping()
  }

  close(): Promise<void> {
    this.#redis.disconnect()
    return Promise.resolve()
  }

  async #connected(): Promise<void> {
    if (this.#redis.status === 'wait') {
      this.#connecting = this.#redis.connect().catch(() => undefined)
    }
    if (this.#redis.status !== 'ready') await this.#connecting
  }

  #encode(input: object): string {
    return JSON.stringify({ ...input, ...(this.#now && { now: this.#now() }) })
  }
}

function encodeSettlement({ id, keys, tokens, nanoUsd }: Settlement) {
  return { id, keys, tokens, nanoUsd: Number(nanoUsd) }
}

function encodeClaim({ id, shares, tokens, nanoUsd, isFinal = false }: Claim) {
  return {
    ...{ id, tokens, final: isFinal },
    nanoUsd: isFinal ? 0 : Number(nanoUsd),
    shares: shares.map(({ key, bounds }) => ({ key, bounds: encodeBounds(bounds) })),
  }
}
