import { setTimeout as sleep } from 'node:timers/promises'

import type { BzzzDatabase } from '../db/database.ts'
import { AuditUnavailableError } from '../errors.ts'
import type { Startable } from '../lifecycle.ts'
import type { Logger } from '../log/log.ts'
import { Counter, Gauge, type Registry } from '../metrics/metrics.ts'
import { createEntry, type AuditEntry, type AuditEvent } from './audit-entry.ts'
import { AuditSpool } from './audit-spool.ts'
import { appendEntries } from './audit-store.ts'
import {
  BATCH_MAX,
  GATHER_MS,
  NO_ROOM_RETRY_SECONDS,
  PENDING_MAX,
  RETRY_MS,
  RETRY_MS_MAX,
  STOP_TIMEOUT_MS,
} from './constants.ts'

export interface AuditLogComponents {
  db: BzzzDatabase
  log: Logger
  registry?: Registry
}

export interface AuditLogInit {
  /** Who writes; also names the spool file, so it is unique among those with one folder. */
  component: string
  /** Without one, entries wait in memory only and are lost with the process. */
  spoolDir?: string | undefined
  pendingMax?: number
}

/**
 * Writes down what was allowed and what was denied, behind the answer. While the database is away
 * entries wait: in memory, and in the spool once an attempt has failed. When as many wait as may,
 * `assertRoom` refuses what would have to be written down, so no entry is ever dropped.
 *
 * States: stopped -> writing -> (failure) waiting -> writing -> stopped.
 */
export class AuditLog implements Startable {
  readonly #db: BzzzDatabase
  readonly #log: Logger
  readonly #init: AuditLogInit
  readonly #spool: AuditSpool | null
  readonly #written: Counter | undefined
  readonly #pending: AuditEntry[] = []
  /** How many of the pending ones, from the first, are in the spool. */
  #spooled = 0
  #spoolKnown = false
  #stopping: AbortController | null = null
  #loop: Promise<void> = Promise.resolve()
  #wake: () => void = () => undefined

  constructor({ db, log, registry }: AuditLogComponents, init: AuditLogInit) {
    this.#db = db
    this.#log = log
    this.#init = init
    const { component, spoolDir: dir } = init
    this.#spool = dir === undefined ? null : new AuditSpool({ log }, { dir, component })
    this.#written = registry && this.#createMetrics(registry)
  }

  /** @throws AuditUnavailableError when nothing more can be promised to be written down */
  assertRoom(): void {
    if (this.#pending.length < (this.#init.pendingMax ?? PENDING_MAX)) return
    throw new AuditUnavailableError(
      `${this.#pending.length} audit rows wait for the database: nothing that needs one is done.`,
      NO_ROOM_RETRY_SECONDS,
    )
  }

  record(event: Omit<AuditEvent, 'component'>): void {
    this.#pending.push(createEntry({ ...event, component: this.#init.component }))
    this.#wake()
  }

  start(): Promise<void> {
    if (this.#stopping) return Promise.resolve()
    this.#stopping = new AbortController()
    this.#loop = this.#run(this.#stopping.signal)
    return Promise.resolve()
  }

  /** What the database does not take now is in the spool afterwards. */
  async stop(): Promise<void> {
    if (!this.#stopping) return
    this.#stopping.abort()
    this.#stopping = null
    this.#wake()
    await this.#loop
    await this.#recallSpool()
    const late = sleep(STOP_TIMEOUT_MS, 'late' as const, { ref: false })
    while (this.#pending.length > 0) {
      const attempt = this.#write().then(
        () => 'written' as const,
        () => 'failed' as const,
      )
      if ((await Promise.race([attempt, late])) !== 'written') break
    }
    await this.#keep()
    if (this.#pending.length === 0 || this.#spool) return
    this.#log.error({ rows: this.#pending.length }, 'audit rows are lost: there is no spool')
  }

  async #run(signal: AbortSignal): Promise<void> {
    let pauseMs = RETRY_MS
    while (!signal.aborted) {
      await this.#recallSpool()
      if (this.#pending.length === 0 && !signal.aborted) await this.#sleep()
      else await pause(GATHER_MS, signal)
      if (signal.aborted) return
      try {
        while (this.#pending.length > 0) await this.#write()
        pauseMs = RETRY_MS
      } catch (error) {
        this.#log.warn({ err: error, rows: this.#pending.length }, 'audit rows wait')
        await this.#keep()
        await pause(pauseMs, signal)
        pauseMs = Math.min(pauseMs * 2, RETRY_MS_MAX)
      }
    }
  }

  /** Takes over what an earlier process left, once; it goes first, as it happened first. */
  async #recallSpool(): Promise<void> {
    if (this.#spoolKnown || !this.#spool) return
    try {
      const left = await this.#spool.read()
      this.#pending.unshift(...left)
      this.#spooled = left.length
      this.#spoolKnown = true
    } catch (error) {
      this.#log.error({ err: error }, 'the audit spool cannot be read')
    }
  }

  async #write(): Promise<void> {
    const batch = this.#pending.slice(0, BATCH_MAX)
    await appendEntries(this.#db, batch)
    this.#pending.splice(0, batch.length)
    this.#written?.inc(batch.length)
    if (this.#spooled === 0) return
    this.#spooled = Math.max(0, this.#spooled - batch.length)
    // A crash before this sends them again, and the database knows them by their id.
    if (this.#spooled === 0) await this.#spool?.clear()
  }

  /** Puts what is only in memory into the spool. */
  async #keep(): Promise<void> {
    const fresh = this.#pending.slice(this.#spooled)
    if (!this.#spool || !this.#spoolKnown || fresh.length === 0) return
    try {
      await this.#spool.add(fresh)
      this.#spooled += fresh.length
    } catch (error) {
      this.#log.error({ err: error, rows: fresh.length }, 'audit rows cannot be spooled')
    }
  }

  async #sleep(): Promise<void> {
    await new Promise<void>((resolve) => (this.#wake = resolve))
  }

  #createMetrics(registry: Registry): Counter {
    const waiting: Gauge = new Gauge({
      name: 'bzzz_audit_pending',
      help: 'Audit rows that wait for the database',
      registers: [registry],
      collect: () => waiting.set(this.#pending.length),
    })
    return new Counter({
      name: 'bzzz_audit_rows_total',
      help: 'Audit rows written to the database',
      registers: [registry],
    })
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined)
}
