import { randomUUID } from 'node:crypto'
import { DatabaseSync, type StatementSync } from 'node:sqlite'

/** One content that a project keeps, under however many addresses and versions. */
export interface UsageRow {
  project: string
  hash: string
  sizeBytes: number
}

export interface UsagePage {
  rows: UsageRow[]
  /** Where the next page begins. */
  sequence: number
}

export interface Position {
  epoch: string
  sequence: number
}

/**
 * Which contents every project of the cluster keeps, in `blobs/index/quota.db`: the union of what
 * the members' records say. All of it can be read again from the records, so commits do not wait
 * for the disk (synchronous = NORMAL) and positions are written with the rows they stand for.
 */
export class UsageStore {
  readonly #db: DatabaseSync
  readonly #insert: StatementSync
  readonly #grow: StatementSync
  readonly #has: StatementSync
  readonly #since: StatementSync
  readonly #used: StatementSync
  readonly #projects: StatementSync
  readonly #position: StatementSync
  readonly #setPosition: StatementSync
  readonly epoch: string

  constructor(file: string) {
    this.#db = new DatabaseSync(file)
    this.#db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = NORMAL;
      CREATE TABLE IF NOT EXISTS usage (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        project TEXT NOT NULL, hash BLOB NOT NULL, size_bytes INTEGER NOT NULL,
        UNIQUE (project, hash));
      CREATE TABLE IF NOT EXISTS totals (
        project TEXT PRIMARY KEY, size_bytes INTEGER NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS positions (
        source TEXT PRIMARY KEY, epoch TEXT NOT NULL, sequence INTEGER NOT NULL) WITHOUT ROWID;
    `)
    const prepare = (sql: string): StatementSync => this.#db.prepare(sql)
    this.#insert = prepare(
      'INSERT OR IGNORE INTO usage (project, hash, size_bytes) VALUES (?, ?, ?)',
    )
    this.#grow = prepare(
      `INSERT INTO totals VALUES (?, ?)
       ON CONFLICT (project) DO UPDATE SET size_bytes = size_bytes + excluded.size_bytes`,
    )
    this.#has = prepare('SELECT 1 FROM usage WHERE project = ? AND hash = ?')
    this.#since = prepare('SELECT * FROM usage WHERE sequence > ? ORDER BY sequence LIMIT ?')
    this.#used = prepare('SELECT size_bytes FROM totals WHERE project = ?')
    this.#projects = prepare(
      'SELECT project FROM totals WHERE project > ? ORDER BY project LIMIT ?',
    )
    this.#position = prepare('SELECT epoch, sequence FROM positions WHERE source = ?')
    this.#setPosition = prepare('INSERT OR REPLACE INTO positions VALUES (?, ?, ?)')
    if (!this.#position.get('self')) this.#setPosition.run('self', randomUUID(), 0)
    this.epoch = this.position('self').epoch
  }

  /** Takes in what `source` said, up to a position in it. Returns the rows that were new. */
  learn(source: string, rows: readonly UsageRow[], upTo: Position): UsageRow[] {
    this.#db.exec('BEGIN')
    try {
      const fresh = rows.filter((row) => this.#add(row))
      this.#setPosition.run(source, upTo.epoch, upTo.sequence)
      this.#db.exec('COMMIT')
      return fresh
    } catch (error) {
      this.#db.exec('ROLLBACK')
      throw error
    }
  }

  /** How far a source was read. */
  position(source: string): Position {
    const row = this.#position.get(source) as unknown as Position | undefined
    return row ? { epoch: row.epoch, sequence: row.sequence } : { epoch: '', sequence: 0 }
  }

  has(project: string, hash: string): boolean {
    return this.#has.get(project, Buffer.from(hash, 'hex')) !== undefined
  }

  used(project: string): number {
    const row = this.#used.get(project) as { size_bytes: number } | undefined
    return row?.size_bytes ?? 0
  }

  /** Names of projects that keep something, in order. */
  projects(after: string, limit: number): string[] {
    return this.#projects.all(after, limit).map((row) => String(row['project']))
  }

  /** In the order in which this node learned of them. */
  since(sequence: number, limit: number): UsagePage {
    const found = this.#since.all(sequence, limit)
    return {
      rows: found.map((row) => ({
        project: String(row['project']),
        hash: Buffer.from(row['hash'] as Uint8Array).toString('hex'),
        sizeBytes: Number(row['size_bytes']),
      })),
      sequence: Number(found.at(-1)?.['sequence'] ?? sequence),
    }
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #add({ project, hash, sizeBytes }: UsageRow): boolean {
    const { changes } = this.#insert.run(project, Buffer.from(hash, 'hex'), sizeBytes)
    if (Number(changes) === 0) return false
    this.#grow.run(project, sizeBytes)
    return true
  }
}
