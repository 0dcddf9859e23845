import { DatabaseSync, type StatementSync } from 'node:sqlite'

import { z } from 'zod'

import { isHash } from '../../shared/blob/hash.ts'

const count = z.int().min(0)

const passSchema = z.object({
  /** `asked`: as fast as the limits allow. `regular`: spread over the period. */
  kind: z.enum(['regular', 'asked']),
  state: z.enum(['running', 'done', 'cancelled']),
  checked: count,
  /** Blobs and bytes of the store when the pass began. */
  total: count,
  totalBytes: count,
  bytes: count,
  bad: count,
  /** The disk did not answer; nothing is known of these copies. */
  failed: count,
  startedMs: count,
  finishedMs: count.nullable(),
  /** Last hash that was checked. */
  cursor: z.string().refine((text) => text === '' || isHash(text)),
  /** When a whole pass last ended without a failed read. */
  lastSuccessMs: count.nullable(),
})

export type ScrubPass = z.infer<typeof passSchema>

/**
 * How far the scrub has come, in `blobs/index/scrub.db`. One row; losing it costs a pass, so it is
 * written without waiting for the disk (synchronous = NORMAL) and one that cannot be read counts
 * as none.
 */
export class ScrubProgress {
  readonly #db: DatabaseSync
  readonly #read: StatementSync
  readonly #write: StatementSync

  constructor(file: string) {
    this.#db = new DatabaseSync(file)
    this.#db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      CREATE TABLE IF NOT EXISTS pass (id INTEGER PRIMARY KEY CHECK (id = 1), json TEXT NOT NULL);
    `)
    this.#read = this.#db.prepare('SELECT json FROM pass')
    this.#write = this.#db.prepare('INSERT OR REPLACE INTO pass VALUES (1, ?)')
  }

  load(): ScrubPass | undefined {
    const row = this.#read.get() as { json: string } | undefined
    return row && passSchema.safeParse(JSON.parse(row.json)).data
  }

  save(pass: ScrubPass): void {
    this.#write.run(JSON.stringify(pass))
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }
}
