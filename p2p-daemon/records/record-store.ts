import { DatabaseSync, type StatementSync } from 'node:sqlite'

import { LRUCache } from 'lru-cache'

import {
  compareRecords,
  decodeRecord,
  encodeRecord,
  recordHash,
  type AddressRecord,
} from '../../shared/record/record.ts'
import { HEADS_MAX } from './constants.ts'
import { RecordNames, type FoundName, type NameQuery } from './record-names.ts'

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

interface Waiting {
  record: AddressRecord
  resolve: (added: boolean) => void
  reject: (error: unknown) => void
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
  readonly #names: RecordNames
  /** As many as there are writes under way. */
  #waiting: Waiting[] = []
  /** Heads that were asked for: a write asks three times. */
  readonly #heads = new LRUCache<string, AddressRecord>({ max: HEADS_MAX })
  readonly #statements: Record<
    | 'insert'
    | 'version'
    | 'byHash'
    | 'top'
    | 'page'
    | 'at'
    | 'since'
    | 'contents'
    | 'contentsOfType'
    | 'ends'
    | 'isEnd'
    | 'merge'
    | 'unseen'
    | 'tips'
    | 'last'
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
      CREATE TABLE IF NOT EXISTS merges (
        parent TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (parent, name)) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS cursors (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL);
    `)
    this.#names = new RecordNames(this.#db)
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
      contentsOfType: prepare(
        `SELECT sequence, json_extract(CAST(bytes AS TEXT), '$.hash') AS content FROM records
         WHERE sequence > ? AND json_extract(CAST(bytes AS TEXT), '$.mediaType') = ?
         ORDER BY sequence LIMIT ?`,
      ),
      ends: prepare(
        `SELECT bytes FROM records AS r WHERE r.name = ? AND ${isEnd('r')}
         ORDER BY version DESC, hash LIMIT ?`,
      ),
      isEnd: prepare(
        `SELECT 1 FROM records AS r WHERE r.hash = ? AND r.name = ? AND ${isEnd('r')}`,
      ),
      merge: prepare('INSERT OR IGNORE INTO merges (parent, name) VALUES (?, ?)'),
      unseen: prepare(
        `SELECT parent AS hash, name FROM merges AS m WHERE NOT EXISTS
         (SELECT 1 FROM records WHERE records.hash = m.parent) LIMIT ?`,
      ),
      tips: prepare(
        `SELECT name, version, hash FROM records AS r
         WHERE (r.name, r.hash) > (?1, ?2) AND ${isEnd('r')} ORDER BY r.name, r.hash LIMIT ?3`,
      ),
      last: prepare('SELECT max(sequence) AS sequence FROM records'),
      cursor: prepare('SELECT sequence FROM cursors WHERE name = ?'),
      setCursor: prepare('INSERT OR REPLACE INTO cursors (name, sequence) VALUES (?, ?)'),
    }
  }

  /** Keeps a verified record. False when it was known. */
  add(record: AddressRecord): boolean {
    return this.#addAll([record])[0]!
  }

  /** As `add`, with all others of the same turn: one transaction and one sync, or none of them. */
  addTogether(record: AddressRecord): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.push({ record, resolve, reject }) > 1) return
      setImmediate(() => {
        const together = this.#waiting
        this.#waiting = []
        try {
          const added = this.#addAll(together.map((each) => each.record))
          for (const [index, each] of together.entries()) each.resolve(added[index]!)
        } catch (error) {
          for (const each of together) each.reject(error)
        }
      })
    })
  }

  #addAll(records: readonly AddressRecord[]): boolean[] {
    // Looked at first: most are known, and a read is no transaction.
    if (records.every((record) => this.#has(recordHash(record)))) return records.map(() => false)
    this.#db.exec('BEGIN IMMEDIATE')
    let added: boolean[]
    try {
      added = records.map((record) => this.#insert(record))
      this.#db.exec('COMMIT')
    } catch (error) {
      this.#db.exec('ROLLBACK')
      throw error
    }
    for (const record of records) {
      const head = this.#heads.get(record.address)
      if (head && compareRecords(record, head) < 0) this.#heads.set(record.address, record)
    }
    return added
  }

  /** Within a transaction. False when it was known. */
  #insert(record: AddressRecord): boolean {
    const hash = recordHash(record)
    if (this.#has(hash)) return false
    const { address, version, previous, merged = [], timestampMs } = record
    const parents = [...new Set([...(previous === null ? [] : [previous]), ...merged])]
    const isEnd = (each: string): boolean => this.#statements.isEnd.get(each, address) !== undefined
    const settled = parents.filter(isEnd).length
    const bytes = encodeRecord(record)
    this.#statements.insert.run(address, version, hash, previous, timestampMs, bytes)
    // A holder that was out of reach for a while may get a version without the one before it.
    const wanted = parents.filter((each) => merged.includes(each) || !this.#has(each))
    for (const parent of wanted) this.#statements.merge.run(parent, address)
    // What was built upon it may have come before it.
    this.#names.add(record, (isEnd(hash) ? 1 : 0) - settled)
    return true
  }

  /** The record that stands: the highest version, and of a fork the lower hash. */
  head(name: string): AddressRecord | undefined {
    const known = this.#heads.get(name)
    if (known) return known
    const head = this.#best(this.#statements.top.all(name))
    if (head) this.#heads.set(name, head)
    return head
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

  /**
   * Newest first, forks included, below `before`. The next page begins below the last version of
   * this one, so a version comes whole, and a page may be shorter than `limit` with more to come.
   */
  history(name: string, before: number, limit: number): AddressRecord[] {
    const records = this.#statements.page.all(name, before, limit + 1).map(decodeRow)
    if (records.length <= limit) return records
    const first = records.pop()
    const whole = records.filter(({ version }) => version !== first?.version)
    return whole.length > 0 ? whole : records
  }

  /** How many ends beside the head's: 0 where history is one chain or the rest was merged. */
  forks(name: string): number {
    return Math.max(this.#names.ends(name) - 1, 0)
  }

  /** Records that nobody built upon and no version settled, the highest version first. */
  ends(name: string, limit: number): AddressRecord[] {
    return this.#statements.ends.all(name, limit).map(decodeRow).toSorted(compareRecords)
  }

  /** What versions here were built upon or have settled, and that never came here itself. */
  unseenMerged(limit: number): { name: string; hash: string }[] {
    return this.#statements.unseen.all(limit) as unknown as { name: string; hash: string }[]
  }

  /** Addresses by their parts, in the order of names. */
  search(query: NameQuery): FoundName[] {
    return this.#names.search(query)
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
  heads(after: string, limit: number): FoundName[] {
    return this.#names.heads(after, limit)
  }

  /** Of the newest record here; 0 where there is none. */
  lastSequence(): number {
    return Number(this.#statements.last.get()?.['sequence'] ?? 0)
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

  /** As `contents`, of records with this media type alone. */
  contentsOfType(
    mediaType: string,
    sequence: number,
    limit: number,
  ): Pick<RecordContent, 'sequence' | 'content'>[] {
    const rows = this.#statements.contentsOfType.all(sequence, mediaType, limit)
    return rows as unknown as Pick<RecordContent, 'sequence' | 'content'>[]
  }

  addresses(): number {
    return this.#names.count()
  }

  /** Where a follower of `since` stopped; 0 for a new one. */
  cursor(follower: string): number {
    const row = this.#statements.cursor.get(follower) as { sequence: number } | undefined
    return row?.sequence ?? 0
  }

  /** Not synced by itself: a follower that is set back by a power cut meets what it knows. */
  setCursor(follower: string, sequence: number): void {
    this.#db.exec('PRAGMA synchronous = NORMAL')
    try {
      this.#statements.setCursor.run(follower, sequence)
    } finally {
      this.#db.exec('PRAGMA synchronous = FULL')
    }
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #has(hash: string): boolean {
    return this.#statements.byHash.get(hash) !== undefined
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

/** SQL for a record that no other one of its address follows or settles. */
function isEnd(alias: string): string {
  return `NOT EXISTS (SELECT 1 FROM records AS next
            WHERE next.previous = ${alias}.hash AND next.name = ${alias}.name)
          AND NOT EXISTS (SELECT 1 FROM merges AS m
            WHERE m.parent = ${alias}.hash AND m.name = ${alias}.name)`
}

function decodeRow(row: Record<string, unknown>): AddressRecord {
  return decodeRecord(row['bytes'] as Uint8Array)
}
