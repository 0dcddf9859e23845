import { DatabaseSync, type StatementSync } from 'node:sqlite'

export interface Owed {
  hash: string
  sizeBytes: number
}

/**
 * Blobs of this node that have fewer copies than they should, in `blobs/index/replication.db`.
 * A row is written before a put with missing copies is acknowledged and removed when the copies
 * exist. Lost rows cost nothing but time: a scrub finds under-replicated blobs again.
 */
export class OwedLedger {
  readonly #db: DatabaseSync
  readonly #insert: StatementSync
  readonly #remove: StatementSync
  readonly #page: StatementSync
  readonly #count: StatementSync

  constructor(file: string) {
    this.#db = new DatabaseSync(file)
    this.#db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      CREATE TABLE IF NOT EXISTS owed (
        hash TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL, since_ms INTEGER NOT NULL
      ) WITHOUT ROWID;
    `)
    this.#insert = this.#db.prepare('INSERT OR IGNORE INTO owed VALUES (?, ?, ?)')
    this.#remove = this.#db.prepare('DELETE FROM owed WHERE hash = ?')
    this.#page = this.#db.prepare(
      'SELECT hash, size_bytes AS sizeBytes FROM owed WHERE hash > ? ORDER BY hash LIMIT ?',
    )
    this.#count = this.#db.prepare('SELECT count(*) AS count FROM owed')
  }

  add(hash: string, sizeBytes: number): void {
    this.#insert.run(hash, sizeBytes, Date.now())
  }

  remove(hash: string): void {
    this.#remove.run(hash)
  }

  page(after: string, limit: number): Owed[] {
    return this.#page.all(after, limit) as unknown as Owed[]
  }

  count(): number {
    return (this.#count.get() as { count: number }).count
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }
}
