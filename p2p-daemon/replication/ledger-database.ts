import { rmSync } from 'node:fs'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'

import { StorageUnavailableError } from '../../shared/errors.ts'
import { isDamage } from '../store/index-database.ts'

/** A file of another version is made anew: what it holds can be found out again. */
const SCHEMA_VERSION = 2

const SCHEMA = `
  CREATE TABLE nodes (id INTEGER PRIMARY KEY, peer_id TEXT NOT NULL UNIQUE, info TEXT) STRICT;
  CREATE TABLE copies (key BLOB PRIMARY KEY, holders BLOB NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE jobs (
    hash BLOB PRIMARY KEY, size INTEGER NOT NULL, reason TEXT NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, not_before REAL NOT NULL DEFAULT 0,
    missing INTEGER NOT NULL DEFAULT 0, short INTEGER NOT NULL DEFAULT 0,
    held_for TEXT, waiting_for TEXT NOT NULL DEFAULT '', again INTEGER NOT NULL DEFAULT 0
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX jobs_due ON jobs (state, missing > 0, not_before);
  CREATE TABLE totals (
    state TEXT PRIMARY KEY, jobs INTEGER NOT NULL DEFAULT 0, owed INTEGER NOT NULL DEFAULT 0,
    short INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0
  ) STRICT, WITHOUT ROWID;
  INSERT INTO totals (state) VALUES ('queued'), ('parked'), ('running');
  CREATE TRIGGER jobs_insert AFTER INSERT ON jobs BEGIN
    UPDATE totals SET jobs = jobs + 1, owed = owed + new.missing, short = short + (new.short > 0),
      held = held + (new.held_for IS NOT NULL) WHERE state = new.state;
  END;
  CREATE TRIGGER jobs_update AFTER UPDATE ON jobs BEGIN
    UPDATE totals SET jobs = jobs - 1, owed = owed - old.missing, short = short - (old.short > 0),
      held = held - (old.held_for IS NOT NULL) WHERE state = old.state;
    UPDATE totals SET jobs = jobs + 1, owed = owed + new.missing, short = short + (new.short > 0),
      held = held + (new.held_for IS NOT NULL) WHERE state = new.state;
  END;
  CREATE TRIGGER jobs_delete AFTER DELETE ON jobs BEGIN
    UPDATE totals SET jobs = jobs - 1, owed = owed - old.missing, short = short - (old.short > 0),
      held = held - (old.held_for IS NOT NULL) WHERE state = old.state;
  END;
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
`

type Row = Record<string, unknown>

/**
 * `blobs/index/replication.db`: which node holds which copy, and the repairs that are due. All of
 * it can be found out again by a scan, so what is only convenient is written without waiting for
 * the disk (synchronous = NORMAL). What a put was acknowledged on is synced first.
 */
export class LedgerDatabase {
  /** True when the last run left facts behind that a scan must complete: new, damaged, killed. */
  readonly incomplete: boolean
  /** True when there was no usable ledger: perhaps the disk is a new one. */
  readonly created: boolean
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  #isMarkedOpen = false

  constructor(file: string) {
    const [db, created] = open(file)
    this.#db = db
    this.created = created
    this.incomplete = created || this.meta('closed') !== 'true'
  }

  /**
   * All of `work` or nothing. With `durable` it survives a power cut from here on.
   * @throws StorageUnavailableError when the disk refuses
   */
  transaction(work: () => void, options: { durable?: boolean } = {}): void {
    try {
      if (options.durable) this.#db.exec('PRAGMA synchronous=FULL')
      this.#db.exec('BEGIN IMMEDIATE')
      // With the first write, so that it is lost only together with all others.
      if (!this.#isMarkedOpen) this.setMeta('closed', 'false')
      work()
      this.#db.exec('COMMIT')
      this.#isMarkedOpen = true
    } catch (error) {
      if (this.#db.isOpen && this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw new StorageUnavailableError('The replica ledger cannot be written.', { cause: error })
    } finally {
      if (options.durable && this.#db.isOpen) this.#db.exec('PRAGMA synchronous=NORMAL')
    }
  }

  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#statement(sql).get(...values)
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#statement(sql).all(...values)
  }

  /** How many rows it changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes)
  }

  meta(key: string): string | undefined {
    const value = this.get('SELECT value FROM meta WHERE key = ?', key)?.['value']
    return typeof value === 'string' ? value : undefined
  }

  setMeta(key: string, value: string): void {
    this.run('INSERT OR REPLACE INTO meta VALUES (?, ?)', key, value)
  }

  get isOpen(): boolean {
    return this.#db.isOpen
  }

  close(): void {
    if (!this.#db.isOpen) return
    try {
      this.transaction(() => this.setMeta('closed', 'true'))
    } catch {
      // Without the mark the next start scans, which is right: the last facts were not written.
    } finally {
      this.#db.close()
    }
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#db.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }
}

export function toKey(hash: string): Buffer {
  return Buffer.from(hash, 'hex')
}

export function fromKey(value: unknown): string {
  return Buffer.from(value as Uint8Array).toString('hex')
}

/** The database, and whether it is a new one. */
function open(file: string): [DatabaseSync, boolean] {
  try {
    const db = openOnce(file)
    const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version'])
    if (version === SCHEMA_VERSION) return [db, false]
    db.close()
  } catch (error) {
    if (!isDamage(error)) throw error
  }
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${file}${suffix}`, { force: true })
  const db = openOnce(file)
  db.exec(`BEGIN IMMEDIATE; ${SCHEMA} PRAGMA user_version=${SCHEMA_VERSION}; COMMIT`)
  return [db, true]
}

function openOnce(file: string): DatabaseSync {
  const db = new DatabaseSync(file)
  try {
    db.exec('PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL')
    return db
  } catch (error) {
    db.close()
    throw error
  }
}
