import { DatabaseSync, type StatementSync } from 'node:sqlite'

import {
  compareRecords,
  decodeRecord,
  encodeRecord,
  recordHash,
  type AddressRecord,
} from '../../shared/record/record.ts'

/** A record with its place in the order in which this node learned of records. */
export interface SequencedRecord {
  sequence: number
  record: AddressRecord
}

/** What a record refers to, without reading it whole: its own hash and its content. */
export interface RecordContent {
  sequence: number
  name: string
  record: string
  content: string
  sizeBytes: number
}

/** The end of a chain of versions. */
export interface Tip {
  name: string
  version: number
  hash: string
}

/**
 * Every record this node holds, by address and version, in `dht/records.db`. It is the authority
 * for what the node answers and puts into the DHT. Each record is also a blob, so the file can be
 * rebuilt from the blob disk. An `add` that returned survives power loss (synchronous = FULL).
 */
export class RecordStore {
  readonly #db: DatabaseSync
  readonly #statements: Record<
    | 'insert'
    | 'version'
    | 'byHash'
    | 'top'
    | 'page'
    | 'at'
    | 'since'
    | 'contents'
    | 'heads'
    | 'count'
    | 'forks'
    | 'tips'
    | 'cursor'
    | 'setCursor',
    StatementSync
  >

  constructor(file: string) {
    this.#db = new DatabaseSync(file)
    this.#db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      CREATE TABLE IF NOT EXISTS records (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL, version INTEGER NOT NULL, hash TEXT NOT NULL UNIQUE,
        previous TEXT, timestamp_ms INTEGER NOT NULL, bytes BLOB NOT NULL);
      CREATE INDEX IF NOT EXISTS records_name ON records (name, version);
      CREATE INDEX IF NOT EXISTS records_previous ON records (previous);
      CREATE TABLE IF NOT EXISTS cursors (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL);
    `)
    const prepare = (sql: string): StatementSync => this.#db.prepare(sql)
    this.#statements = {
      insert: prepare(
        `INSERT OR IGNORE INTO records (name, version, hash, previous, timestamp_ms, bytes)
         VALUES (?, ?, ?, ?, ?, ?)`,
      ),
      version: prepare('SELECT bytes FROM records WHERE name = ? AND version = ?'),
      byHash: prepare('SELECT bytes FROM records WHERE hash = ?'),
      top: prepare(
        `SELECT bytes FROM records WHERE name = ?1
         AND version = (SELECT max(version) FROM records WHERE name = ?1)`,
      ),
      page: prepare(
        'SELECT bytes FROM records WHERE name = ? AND version < ? ORDER BY version DESC LIMIT ?',
      ),
      at: prepare(
        `SELECT bytes FROM records WHERE name = ?1 AND version = (SELECT max(version)
         FROM records WHERE name = ?1 AND timestamp_ms <= ?2)`,
      ),
      since: prepare(
        'SELECT sequence, bytes FROM records WHERE sequence > ? ORDER BY sequence LIMIT ?',
      ),
      contents: prepare(
        `SELECT sequence, name, hash AS record, json_extract(CAST(bytes AS TEXT), '$.hash')
         AS content, json_extract(CAST(bytes AS TEXT), '$.sizeBytes') AS sizeBytes
         FROM records WHERE sequence > ? ORDER BY sequence LIMIT ?`,
      ),
      heads: prepare(
        `SELECT name, max(version) AS version FROM records WHERE name > ?
         GROUP BY name ORDER BY name LIMIT ?`,
      ),
      count: prepare('SELECT count(DISTINCT name) AS count FROM records'),
      forks: prepare(
        `SELECT count(*) AS count FROM records AS r WHERE r.name = ?1 AND NOT EXISTS
         (SELECT 1 FROM records AS next WHERE next.previous = r.hash AND next.name = ?1)`,
      ),
      tips: prepare(
        `SELECT name, version, hash FROM records AS r
         WHERE (r.name, r.hash) > (?1, ?2) AND NOT EXISTS
           (SELECT 1 FROM records AS next WHERE next.previous = r.hash AND next.name = r.name)
         ORDER BY r.name, r.hash LIMIT ?3`,
      ),
      cursor: prepare('SELECT sequence FROM cursors WHERE name = ?'),
      setCursor: prepare('INSERT OR REPLACE INTO cursors (name, sequence) VALUES (?, ?)'),
    }
  }

  /** Keeps a verified record. False when it was known. */
  add(record: AddressRecord): boolean {
    const { address, version, previous, timestampMs } = record
    const bytes = encodeRecord(record)
    const { changes } = this.#statements.insert.run(
      address,
      version,
      recordHash(record),
      previous,
      timestampMs,
      bytes,
    )
    return Number(changes) > 0
  }

  /** The record that stands: the highest version, and of a fork the lower hash. */
  head(name: string): AddressRecord | undefined {
    return this.#best(this.#statements.top.all(name))
  }

  /** The given version, on the head's own chain where the address has forks. */
  version(name: string, version: number): AddressRecord | undefined {
    const rows = this.#statements.version.all(name, version)
    return rows.length > 1 ? this.#onChain(name, version) : this.#best(rows)
  }

  byHash(hash: string): AddressRecord | undefined {
    return this.#best(this.#statements.byHash.all(hash))
  }

  /** What stood at a moment, by the authors' clocks. */
  at(name: string, timestampMs: number): AddressRecord | undefined {
    const found = this.#best(this.#statements.at.all(name, timestampMs))
    return found && this.version(name, found.version)
  }

  /** Newest first, forks included, below `before`. */
  history(name: string, before: number, limit: number): AddressRecord[] {
    return this.#statements.page.all(name, before, limit).map(decodeRow)
  }

  /** How many records beside the head nobody built upon: 0 where history is one chain. */
  forks(name: string): number {
    const row = this.#statements.forks.get(name) as { count: number }
    return Math.max(row.count - 1, 0)
  }

  /**
   * Records nobody built upon, by name and hash, for comparing notes with a peer: the head of each
   * address and, where it has forks, the ends of these.
   */
  tips(after: Tip | undefined, limit: number): Tip[] {
    const { name, hash } = after ?? { name: '', hash: '' }
    return this.#statements.tips.all(name, hash, limit) as unknown as Tip[]
  }

  /** Names in order with the newest version of each. */
  heads(after: string, limit: number): { name: string; version: number }[] {
    return this.#statements.heads.all(after, limit) as { name: string; version: number }[]
  }

  /** Records in the order this node learned of them, after a sequence number. */
  since(sequence: number, limit: number): SequencedRecord[] {
    return this.#statements.since
      .all(sequence, limit)
      .map((row) => ({ sequence: Number(row['sequence']), record: decodeRow(row) }))
  }

  /** As `since`, for those who go through all records: a tenth of the time. */
  contents(sequence: number, limit: number): RecordContent[] {
    return this.#statements.contents.all(sequence, limit) as unknown as RecordContent[]
  }

  addresses(): number {
    return (this.#statements.count.get() as { count: number }).count
  }

  /** Where a follower of `since` stopped; 0 for a new one. */
  cursor(follower: string): number {
    const row = this.#statements.cursor.get(follower) as { sequence: number } | undefined
    return row?.sequence ?? 0
  }

  setCursor(follower: string, sequence: number): void {
    this.#statements.setCursor.run(follower, sequence)
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #onChain(name: string, version: number): AddressRecord | undefined {
    let record = this.head(name)
    while (record && record.version > version && record.previous) {
      record = this.byHash(record.previous)
    }
    return record
  }

  #best(rows: unknown[]): AddressRecord | undefined {
    return (rows as { bytes: Uint8Array }[]).map(decodeRow).sort(compareRecords)[0]
  }
}

function decodeRow(row: Record<string, unknown>): AddressRecord {
  return decodeRecord(row['bytes'] as Uint8Array)
}
