import type { BzzzDatabase } from '../db/database.ts'
import { AuditUnavailableError } from '../errors.ts'
import type { Startable } from '../lifecycle.ts'
import type { Logger } from '../log/log.ts'
import { Counter, Gauge, type Registry } from '../metrics/metrics.ts'
import { LineSpool } from '../spool/line-spool.ts'
import { SpooledWriter } from '../spool/spooled-writer.ts'
import { createEntry, parseEntry, type AuditEntry, type AuditEvent } from './audit-entry.ts'
import { appendEntries } from './audit-store.ts'
import { NO_ROOM_RETRY_SECONDS, PENDING_MAX } from './constants.ts'

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
 * entries wait. When as many wait as may, `assertRoom` refuses what would have to be written down,
 * so no entry is ever dropped.
 */
export class AuditLog implements Startable {
  readonly #init: AuditLogInit
  readonly #writer: SpooledWriter<AuditEntry>

  constructor({ db, log, registry }: AuditLogComponents, init: AuditLogInit) {
    this.#init = init
    const { component, spoolDir: dir } = init
    const spool = dir === undefined ? null : auditSpool({ log }, { dir, component })
    const written = registry && this.#createMetrics(registry)
    this.#writer = new SpooledWriter(
      { spool, log },
      {
        what: 'audit rows',
        write: async (batch) => {
          await appendEntries(db, batch)
          written?.inc(batch.length)
        },
      },
    )
  }

  /** @throws AuditUnavailableError when nothing more can be promised to be written down */
  assertRoom(): void {
    if (this.#writer.waiting < (this.#init.pendingMax ?? PENDING_MAX)) return
    throw new AuditUnavailableError(
      `${this.#writer.waiting} audit rows wait for the database: nothing that needs one is done.`,
      NO_ROOM_RETRY_SECONDS,
    )
  }

  record(event: Omit<AuditEvent, 'component'>): void {
    this.#writer.add(createEntry({ ...event, component: this.#init.component }))
  }

  start(): Promise<void> {
    return this.#writer.start()
  }

  /** What the database does not take now is in the spool afterwards. */
  stop(): Promise<void> {
    return this.#writer.stop()
  }

  #createMetrics(registry: Registry): Counter {
    const waiting: Gauge = new Gauge({
      name: 'bzzz_audit_pending',
      help: 'Audit rows that wait for the database',
      registers: [registry],
      collect: () => waiting.set(this.#writer.waiting),
    })
    return new Counter({
      name: 'bzzz_audit_rows_total',
      help: 'Audit rows written to the database',
      registers: [registry],
    })
  }
}

/** Audit rows of one process: `component` is unique among those with one folder. */
export function auditSpool(
  { log }: { log: Logger },
  { dir, component }: { dir: string; component: string },
): LineSpool<AuditEntry> {
  return new LineSpool({ log }, { dir, name: component, parse: parseEntry })
}
