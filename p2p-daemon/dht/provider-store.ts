import { DatabaseSync, type StatementSync } from 'node:sqlite'

import type { ProviderKey } from './keys.ts'

/**
 * What this node announces, and when it last did, in `dht/provided.db`. A power cut may lose the
 * last entries (synchronous = NORMAL): they are announced when they are next looked at, and until
 * then the connected peers are asked for them anyway.
 */
export class ProviderStore {
  readonly #db: DatabaseSync
  readonly #insert: StatementSync
  readonly #delete: StatementSync
  readonly #has: StatementSync
  readonly #mark: StatementSync
  readonly #due: StatementSync
  readonly #count: StatementSync
  readonly #page: StatementSync

  constructor(file: string) {
    this.#db = new DatabaseSync(file)
    this.#db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      CREATE TABLE IF NOT EXISTS provided (
        key TEXT PRIMARY KEY, provided_ms INTEGER NOT NULL
      ) WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS provided_due ON provided (provided_ms);
    `)
    const prepare = (sql: string): StatementSync => this.#db.prepare(sql)
    this.#insert = prepare('INSERT OR IGNORE INTO provided VALUES (?, 0)')
    this.#delete = prepare('DELETE FROM provided WHERE key = ?')
    this.#has = prepare('SELECT 1 FROM provided WHERE key = ?')
    this.#mark = prepare('UPDATE provided SET provided_ms = ? WHERE key = ?')
    this.#due = prepare(
      'SELECT key FROM provided WHERE provided_ms <= ? ORDER BY provided_ms LIMIT ?',
    )
    this.#count = prepare(
      `SELECT count(*) AS count FROM provided WHERE key >= ?1 || '/' AND key < ?1 || '0'`,
    )
    this.#page = prepare('SELECT key FROM provided WHERE key > ? ORDER BY key LIMIT ?')
  }

  /** False when it was there. */
  add(key: ProviderKey): boolean {
    return Number(this.#insert.run(key).changes) > 0
  }

  /** False when it was not there. */
  remove(key: ProviderKey): boolean {
    return Number(this.#delete.run(key).changes) > 0
  }

  has(key: ProviderKey): boolean {
    return this.#has.get(key) !== undefined
  }

  /** It has just been announced. */
  mark(key: ProviderKey, nowMs: number): void {
    this.#mark.run(nowMs, key)
  }

  /** Keys last announced before `beforeMs`, the longest waiting first. */
  due(beforeMs: number, limit: number): ProviderKey[] {
    return this.#due.all(beforeMs, limit).map((row) => row['key'] as ProviderKey)
  }

  /** In order of the keys, for those who look through all of them. */
  page(after: string, limit: number): ProviderKey[] {
    return this.#page.all(after, limit).map((row) => row['key'] as ProviderKey)
  }

  count(kind: 'root' | 'capability'): number {
    return (this.#count.get(kind) as { count: number }).count
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }
}
