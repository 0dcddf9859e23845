import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'

import {
  DataFolderLockedError,
  DataFolderNewerError,
  StorageUnavailableError,
} from '../../shared/errors.ts'
import type { BlobLocation } from './blob-location.ts'
import type { BlobStat } from './blob-store.ts'

const SCHEMA_VERSION = 1
const SQLITE_BUSY = 5
const SQLITE_CORRUPT = 11
const SQLITE_NOTADB = 26

/** A hash that a start-up scan found deleted; such rows are gone when the scan ends. */
export const DELETED_SEGMENT = -1

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS blobs (
    hash BLOB PRIMARY KEY, size INTEGER NOT NULL, loose INTEGER NOT NULL,
    segment INTEGER NOT NULL, offset INTEGER NOT NULL, sequence INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS dead (
    segment INTEGER, hash BLOB, sequence INTEGER, PRIMARY KEY (segment, hash, sequence)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS segments (
    segment INTEGER PRIMARY KEY, indexed INTEGER NOT NULL, live INTEGER NOT NULL, cut INTEGER
  ) STRICT;
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
`

export interface SegmentState {
  /** The index knows everything before this position. */
  indexedBytes: number
  /** Bytes of records that still count. */
  liveBytes: number
  /** Set for a segment whose write failed: what lies behind was never acknowledged. */
  cutBytes: number | undefined
}

type MetaKey = 'complete' | 'blobs' | 'bytes' | 'sequence'

/**
 * primary.db: a cache of what the segments and loose files say. WAL with synchronous=NORMAL: a
 * power cut may take the last transactions but never damages the file, and what it took is
 * scanned again, because the position indexed is part of the same transactions.
 */
export class IndexDatabase {
  readonly #db: DatabaseSync
  readonly #path: string
  readonly #statements = new Map<string, StatementSync>()

  private constructor(db: DatabaseSync, path: string) {
    this.#db = db
    this.#path = path
  }

  /** Holds the file alone until `close`. A file that is no database is replaced by an empty one. */
  static open(path: string): IndexDatabase {
    try {
      const database = IndexDatabase.#openOnce(path)
      if (!existsSync(damagedPath(path))) return database
      database.close()
    } catch (error) {
      if (!isDamage(error)) throw error
    }
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${path}${suffix}`, { force: true })
    rmSync(damagedPath(path), { force: true })
    return IndexDatabase.#openOnce(path)
  }

  static #openOnce(path: string): IndexDatabase {
    const db = new DatabaseSync(path, { timeout: 0 })
    try {
      db.exec('PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL')
      db.exec('PRAGMA cache_size=-65536; PRAGMA wal_autocheckpoint=4000; PRAGMA temp_store=FILE')
      const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version'])
      if (version > SCHEMA_VERSION) {
        throw new DataFolderNewerError(`${path} was written by a newer release.`)
      }
      // The lock is taken either way; on a full disk only the first start has to write.
      if (version === SCHEMA_VERSION) db.exec('BEGIN IMMEDIATE; ROLLBACK')
      else db.exec(`BEGIN IMMEDIATE; ${SCHEMA} PRAGMA user_version=${SCHEMA_VERSION}; COMMIT`)
      return new IndexDatabase(db, path)
    } catch (error) {
      db.close()
      if (sqliteCode(error) === SQLITE_BUSY) {
        throw new DataFolderLockedError('Another process holds this blob store.', { cause: error })
      }
      throw error
    }
  }

  close(): void {
    this.#db.close()
  }

  transaction(work: () => void): void {
    this.#guarded(() => this.#db.exec('BEGIN IMMEDIATE'))
    try {
      work()
      this.#guarded(() => this.#db.exec('COMMIT'))
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw error
    }
  }

  /** Everything committed so far survives a power cut from here on. */
  sync(): void {
    this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
  }

  /** While a rebuild fills the file, nothing in it is worth a sync: `complete` is not set. */
  setSyncing(on: boolean): void {
    this.#db.exec(`PRAGMA synchronous=${on ? 'NORMAL' : 'OFF'}`)
  }

  clear(): void {
    this.#db.exec('DELETE FROM blobs; DELETE FROM dead; DELETE FROM segments; DELETE FROM meta')
  }

  blob(hash: string): BlobLocation | undefined {
    const row = this.#get('SELECT * FROM blobs WHERE hash = ?', key(hash))
    if (row === undefined) return undefined
    return {
      sizeBytes: Number(row['size']),
      loose: row['loose'] === 1,
      segment: Number(row['segment']),
      offset: Number(row['offset']),
      sequence: Number(row['sequence']),
    }
  }

  putBlob(hash: string, at: BlobLocation): void {
    const sql = 'INSERT OR REPLACE INTO blobs VALUES (?, ?, ?, ?, ?, ?)'
    const loose = at.loose ? 1 : 0
    this.#run(sql, key(hash), at.sizeBytes, loose, at.segment, at.offset, at.sequence)
  }

  /** False when the hash has a row already; that row stays. */
  addBlob(hash: string, at: BlobLocation): boolean {
    const sql = 'INSERT OR IGNORE INTO blobs VALUES (?, ?, ?, ?, ?, ?)'
    const loose = at.loose ? 1 : 0
    return this.#run(sql, key(hash), at.sizeBytes, loose, at.segment, at.offset, at.sequence) > 0
  }

  deleteBlob(hash: string): void {
    this.#run('DELETE FROM blobs WHERE hash = ?', key(hash))
  }

  page(after: string, limit: number): BlobStat[] {
    const sql = 'SELECT hash, size FROM blobs WHERE hash > ? ORDER BY hash LIMIT ?'
    return this.#all(sql, key(after), limit).map((row) => ({
      hash: hashOf(row),
      sizeBytes: Number(row['size']),
    }))
  }

  /** A record of the hash lies in the segment but counts no more. */
  addDead(hash: string, segment: number, sequence: number): void {
    this.#run('INSERT OR IGNORE INTO dead VALUES (?, ?, ?)', segment, key(hash), sequence)
  }

  /** Whether a record of this hash, as new or newer, is known to be dead. */
  isDead(hash: string, sequence: number): boolean {
    const sql = `SELECT 1 FROM segments JOIN dead USING (segment)
      WHERE dead.hash = ? AND dead.sequence >= ? LIMIT 1`
    return this.#get(sql, key(hash), sequence) !== undefined
  }

  /** Whether a dead record would come back to life without a tombstone up to this sequence. */
  isTombstoneNeeded(hash: string, upTo: number, exceptSegment: number): boolean {
    const sql = `SELECT 1 FROM segments JOIN dead USING (segment)
      WHERE dead.hash = ? AND dead.sequence <= ? AND segment <> ? LIMIT 1`
    return this.#get(sql, key(hash), upTo, exceptSegment) !== undefined
  }

  hashesIn(segment: number): string[] {
    return this.#all('SELECT hash FROM blobs WHERE segment = ?', segment).map(hashOf)
  }

  removeDeleted(): void {
    this.#run('DELETE FROM blobs WHERE segment = ?', DELETED_SEGMENT)
  }

  segments(): Map<number, SegmentState> {
    const states = new Map<number, SegmentState>()
    for (const row of this.#all('SELECT * FROM segments')) {
      states.set(Number(row['segment']), {
        indexedBytes: Number(row['indexed']),
        liveBytes: Number(row['live']),
        cutBytes: row['cut'] === null ? undefined : Number(row['cut']),
      })
    }
    return states
  }

  putSegment(segment: number, state: SegmentState): void {
    const { indexedBytes, liveBytes, cutBytes } = state
    const sql = 'INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?)'
    this.#run(sql, segment, indexedBytes, liveBytes, cutBytes ?? null)
  }

  removeSegment(segment: number): void {
    this.#run('DELETE FROM dead WHERE segment = ?', segment)
    this.#run('DELETE FROM segments WHERE segment = ?', segment)
  }

  meta(name: MetaKey): number {
    return Number(this.#get('SELECT value FROM meta WHERE key = ?', name)?.['value'] ?? 0)
  }

  setMeta(name: MetaKey, value: number): void {
    this.#run('INSERT OR REPLACE INTO meta VALUES (?, ?)', name, value)
  }

  /** Exact counts by reading every row: after a scan, not on the way of a put. */
  count(): { blobs: number; bytes: number; liveBytes: Map<number, number> } {
    const liveBytes = new Map<number, number>()
    let blobs = 0
    let bytes = 0
    const sql = `SELECT segment, count(*) AS blobs, sum(size) AS bytes,
      sum(64 + CASE WHEN NOT loose THEN size WHEN size <= 1048576 THEN 0
        ELSE 32 * ((size + 1048575) / 1048576 + 1) END) AS live FROM blobs GROUP BY segment`
    for (const row of this.#all(sql)) {
      blobs += Number(row['blobs'])
      bytes += Number(row['bytes'])
      liveBytes.set(Number(row['segment']), Number(row['live']))
    }
    return { blobs, bytes, liveBytes }
  }

  /** Between these two a walk over the loose files says what it saw. */
  beginSeen(): void {
    this.#db.exec('CREATE TEMP TABLE seen (hash BLOB PRIMARY KEY) WITHOUT ROWID')
  }

  addSeen(hash: string): void {
    this.#run('INSERT OR IGNORE INTO seen VALUES (?)', key(hash))
  }

  /** Loose blobs that the walk did not see. */
  endSeen(): string[] {
    const sql = 'SELECT hash FROM blobs WHERE loose = 1 AND hash NOT IN (SELECT hash FROM seen)'
    const missing = this.#all(sql).map(hashOf)
    this.#statements.clear()
    this.#db.exec('DROP TABLE seen')
    return missing
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#db.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }

  #get(sql: string, ...values: SQLInputValue[]): Record<string, unknown> | undefined {
    return this.#guarded(() => this.#statement(sql).get(...values))
  }

  #all(sql: string, ...values: SQLInputValue[]): Record<string, unknown>[] {
    return this.#guarded(() => this.#statement(sql).all(...values))
  }

  #run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#guarded(() => this.#statement(sql).run(...values)).changes)
  }

  /** Damage that shows up later leaves a mark, and the next start builds the file anew. */
  #guarded<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      if (!isDamage(error)) throw error
      writeFileSync(damagedPath(this.#path), '')
      const message = 'The blob index is damaged; the next start builds it anew from the blobs.'
      throw new StorageUnavailableError(message, { cause: error })
    }
  }
}

function damagedPath(path: string): string {
  return `${path}.damaged`
}

/** The file is no database, or one with broken pages: it is rebuilt rather than trusted. */
export function isDamage(error: unknown): boolean {
  const code = sqliteCode(error)
  return code === SQLITE_CORRUPT || code === SQLITE_NOTADB
}

function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error)) return undefined
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined
}

function key(hash: string): Buffer {
  return Buffer.from(hash, 'hex')
}

function hashOf(row: Record<string, unknown>): string {
  return Buffer.from(row['hash'] as Uint8Array).toString('hex')
}
