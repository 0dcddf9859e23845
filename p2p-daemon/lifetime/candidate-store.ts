import { DatabaseSync, type StatementSync } from 'node:sqlite'

import type { BlobStat } from '../store/blob-store.ts'

interface Row {
  hash: Uint8Array
  since_ms: number
  size_bytes: number
}

/**
 * Blobs of this node that the last mark found unreferenced, and since when, in
 * `blobs/index/gc.db`. A put takes its blob off the list before it is acknowledged (synchronous =
 * FULL), so a restart forgets no put. Losing the file costs one more grace.
 */
export class CandidateStore {
  readonly #db: DatabaseSync
  readonly #has: StatementSync
  readonly #insert: StatementSync
  readonly #delete: StatementSync
  readonly #range: StatementSync
  readonly #ripe: StatementSync
  readonly #total: StatementSync

  constructor(file: string) {
    this.#db = new DatabaseSync(file)
    this.#db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      CREATE TABLE IF NOT EXISTS candidates (
        hash BLOB PRIMARY KEY, since_ms INTEGER NOT NULL, size_bytes INTEGER NOT NULL
      ) WITHOUT ROWID;
    `)
    const prepare = (sql: string): StatementSync => this.#db.prepare(sql)
    this.#has = prepare('SELECT since_ms FROM candidates WHERE hash = ?')
    this.#insert = prepare('INSERT OR IGNORE INTO candidates VALUES (?, ?, ?)')
    this.#delete = prepare('DELETE FROM candidates WHERE hash = ?')
    this.#range = prepare('SELECT hash FROM candidates WHERE hash > ? AND hash <= ?')
    this.#ripe = prepare(
      'SELECT * FROM candidates WHERE hash > ? AND since_ms <= ? ORDER BY hash LIMIT ?',
    )
    this.#total = prepare(
      'SELECT count(*) AS count, coalesce(sum(size_bytes), 0) AS bytes FROM candidates',
    )
  }

  /** The blob was put: whatever was known of it no longer counts. */
  forget(hash: string): void {
    const key = Buffer.from(hash, 'hex')
    // Looked up first: most puts are of blobs that are not on the list, and a read is no commit.
    if (this.#has.get(key)) this.#delete.run(key)
  }

  /** These were deleted. */
  remove(blobs: readonly BlobStat[]): void {
    this.#transaction(() => {
      for (const { hash } of blobs) this.#delete.run(Buffer.from(hash, 'hex'))
    })
  }

  /** The last mark found it unreferenced, and it was not put since. */
  has(hash: string): boolean {
    return this.isRipe(hash, Infinity)
  }

  /** Unreferenced since then or before. */
  isRipe(hash: string, cutoffMs: number): boolean {
    const row = this.#has.get(Buffer.from(hash, 'hex')) as { since_ms: number } | undefined
    return row !== undefined && row.since_ms <= cutoffMs
  }

  /**
   * What a mark found between two hashes, the first exclusive: those listed are unreferenced,
   * all others are referenced or gone.
   */
  reconcile(
    range: { after: string; upTo: string },
    unreferenced: readonly BlobStat[],
    nowMs: number,
  ): void {
    const kept = new Set(unreferenced.map(({ hash }) => hash))
    const [after, upTo] = [Buffer.from(range.after, 'hex'), Buffer.from(range.upTo, 'hex')]
    this.#transaction(() => {
      for (const row of this.#range.all(after, upTo) as unknown as Pick<Row, 'hash'>[]) {
        if (!kept.has(Buffer.from(row.hash).toString('hex'))) this.#delete.run(row.hash)
      }
      for (const { hash, sizeBytes } of unreferenced) {
        this.#insert.run(Buffer.from(hash, 'hex'), nowMs, sizeBytes)
      }
    })
  }

  /** In hash order, those unreferenced since `cutoffMs` or before. */
  ripe(after: string, cutoffMs: number, limit: number): BlobStat[] {
    const rows = this.#ripe.all(Buffer.from(after, 'hex'), cutoffMs, limit) as unknown as Row[]
    return rows.map((row) => ({
      hash: Buffer.from(row.hash).toString('hex'),
      sizeBytes: row.size_bytes,
    }))
  }

  total(): { count: number; bytes: number } {
    return this.#total.get() as { count: number; bytes: number }
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #transaction(work: () => void): void {
    this.#db.exec('BEGIN')
    try {
      work()
      this.#db.exec('COMMIT')
    } catch (error) {
      this.#db.exec('ROLLBACK')
      throw error
    }
  }
}
