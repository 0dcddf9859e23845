import type { BzzzDatabase } from '../../../shared/db/database.ts'
import type { Startable } from '../../../shared/lifecycle.ts'
import { createUsageRow, parseUsageRow, type UsageRow } from '../../../shared/llm/usage-row.ts'
import { insertUsage } from '../../../shared/llm/usage-store.ts'
import type { Logger } from '../../../shared/log/log.ts'
import { Counter, Gauge, type Registry } from '../../../shared/metrics/metrics.ts'
import { LineSpool } from '../../../shared/spool/line-spool.ts'
import { SpooledWriter } from '../../../shared/spool/spooled-writer.ts'
import { ROWS_PENDING_MAX } from './constants.ts'

export interface UsageLogComponents {
  db: BzzzDatabase
  log: Logger
  registry: Registry
}

export interface UsageLogInit {
  /** Names the spool file: unique among those with one folder. */
  component: string
  /** Without one, rows wait in memory only and are lost with the process. */
  spoolDir?: string | undefined
  pendingMax?: number
}

/**
 * Writes a row for each call, behind its answer. Calls go on while the database is away: rows wait,
 * and those that come when as many wait as may are dropped and counted.
 */
export class UsageLog implements Startable {
  readonly #log: Logger
  readonly #pendingMax: number
  readonly #writer: SpooledWriter<UsageRow>
  readonly #rows: Counter<'outcome'>

  constructor({ db, log, registry }: UsageLogComponents, init: UsageLogInit) {
    const { component: name, spoolDir: dir, pendingMax = ROWS_PENDING_MAX } = init
    this.#log = log
    this.#pendingMax = pendingMax
    const spool =
      dir === undefined ? null : new LineSpool({ log }, { dir, name, parse: parseUsageRow })
    this.#rows = this.#createMetrics(registry)
    this.#writer = new SpooledWriter(
      { spool, log },
      {
        what: 'usage rows',
        write: async (batch) => {
          await insertUsage(db, batch)
          this.#rows.inc({ outcome: 'written' }, batch.length)
        },
      },
    )
  }

  /** The same id twice is one row. Never throws. */
  record(row: UsageRow): void {
    if (this.#writer.waiting >= this.#pendingMax) {
      this.#rows.inc({ outcome: 'dropped' })
      return
    }
    try {
      this.#writer.add(createUsageRow(row))
    } catch (error) {
      this.#rows.inc({ outcome: 'dropped' })
      this.#log.error({ err: error, id: row.id }, 'a usage row cannot be made')
    }
  }

  start(): Promise<void> {
    return this.#writer.start()
  }

  /** What the database does not take now is in the spool afterwards. */
  stop(): Promise<void> {
    return this.#writer.stop()
  }

  #createMetrics(registry: Registry): Counter<'outcome'> {
    const waiting: Gauge = new Gauge({
      name: 'bzzz_llm_usage_pending',
      help: 'Usage rows that wait for the database',
      registers: [registry],
      collect: () => waiting.set(this.#writer.waiting),
    })
    return new Counter({
      name: 'bzzz_llm_usage_rows_total',
      help: 'Usage rows, written to the database or dropped because too many waited',
      labelNames: ['outcome'],
      registers: [registry],
    })
  }
}
