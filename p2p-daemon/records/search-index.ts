import { setTimeout as sleep } from 'node:timers/promises'

import type { BzzzDatabase } from '../../shared/db/database.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { parseAddress } from '../../shared/address/address.ts'
import { recordHash, type AddressRecord } from '../../shared/record/record.ts'
import {
  INDEX_BACKOFF_MS_MAX,
  INDEX_BATCH_RECORDS,
  INDEX_INTERVAL_MS,
  INDEX_PAUSE_MS,
} from './constants.ts'
import type { RecordStore } from './record-store.ts'

export interface SearchIndexComponents {
  db: BzzzDatabase
  store: RecordStore
  log: Logger
}

/**
 * Copies records into Postgres for search, in the order this node learned of them. The position is
 * kept in the record store, so nothing is skipped while Postgres is away, and a row that another
 * node wrote already is left as it is.
 */
export class SearchIndex implements Startable {
  readonly #components: SearchIndexComponents
  /** Positions belong to one database: another DATABASE_URL is filled from the start. */
  readonly #cursor: string
  #controller: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()
  #wake: () => void = () => undefined
  #state: 'unknown' | 'up' | 'down' = 'unknown'

  constructor(components: SearchIndexComponents, init: { databaseName: string }) {
    this.#components = components
    this.#cursor = `search ${init.databaseName}`
  }

  /** For status and metrics: whether the last attempt reached the database. */
  state(): 'unknown' | 'up' | 'down' {
    return this.#state
  }

  wake(): void {
    this.#wake()
  }

  start(): Promise<void> {
    if (this.#controller) return Promise.resolve()
    this.#controller = new AbortController()
    this.#loop = this.#run(this.#controller.signal)
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#controller?.abort()
    this.#controller = undefined
    this.#wake()
    await this.#loop
  }

  async #run(signal: AbortSignal): Promise<void> {
    let failures = 0
    while (!signal.aborted) {
      try {
        const written = await this.#writeBatch()
        this.#state = 'up'
        failures = 0
        if (written === 0) await this.#idle(INDEX_INTERVAL_MS, signal)
        else if (written < INDEX_BATCH_RECORDS) await this.#pause(signal)
      } catch (error) {
        if (this.#state !== 'down') {
          this.#components.log.warn({ err: error }, 'search index cannot reach the database')
        }
        this.#state = 'down'
        failures += 1
        const pauseMs = Math.min(2 ** failures * 100, INDEX_BACKOFF_MS_MAX)
        await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
      }
    }
  }

  async #idle(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new Promise<void>((resolve) => (this.#wake = resolve))
    const timer = new AbortController()
    const paused = sleep(ms, undefined, { signal: AbortSignal.any([signal, timer.signal]) })
    await Promise.race([woken, paused.catch(() => undefined)])
    timer.abort()
  }

  /** What comes next goes together: a busy address has a version every few milliseconds. */
  async #pause(signal: AbortSignal): Promise<void> {
    await sleep(INDEX_PAUSE_MS, undefined, { signal }).catch(() => undefined)
  }

  async #writeBatch(): Promise<number> {
    const { db, store } = this.#components
    const batch = store.since(store.cursor(this.#cursor), INDEX_BATCH_RECORDS)
    if (batch.length === 0) {
      await db.selectFrom('records').select('record').limit(1).execute()
      return 0
    }
    await db
      .insertInto('records')
      .values(batch.map(({ record }) => toRow(record)))
      .onConflict((conflict) => conflict.column('record').doNothing())
      .execute()
    store.setCursor(this.#cursor, batch.at(-1)!.sequence)
    return batch.length
  }
}

function toRow(record: AddressRecord) {
  const address = parseAddress(record.address)
  if (address.kind !== 'semantic') throw new Error('A record names a semantic address.')
  return {
    record: recordHash(record),
    address: record.address,
    version: record.version,
    agent: address.agent,
    role: address.role ?? null,
    project: address.project,
    task: address.task ?? null,
    path: address.path,
    hash: record.hash,
    size_bytes: record.sizeBytes,
    media_type: record.mediaType,
    previous: record.previous,
    author: record.author,
    created_at: new Date(record.timestampMs),
  }
}
