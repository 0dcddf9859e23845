import { randomUUID } from 'node:crypto'
import { DatabaseSync, type StatementSync } from 'node:sqlite'

import { OverloadedError } from '../../shared/errors.ts'
import { supersedes, type Claim, type ClaimKind } from './claim.ts'
import { CLAIMS_MAX, EXPIRED_KEEP_MS, TOMBSTONE_KEEP_MS } from './constants.ts'

export interface SequencedClaim {
  sequence: number
  claim: Claim
}

const LIVE = 'deleted = 0 AND (expires_ms IS NULL OR expires_ms > ?)'

/** A client that fills the table is told to come back when something may have expired. */
const FULL_RETRY_SECONDS = 60

/**
 * Every claim of the cluster, in `blobs/index/pins.db`. An `apply` that returned survives power
 * loss (synchronous = FULL). A lost file is filled again by the other members; a cluster of one
 * loses its pins with it, so a backup takes it along.
 */
export class PinStore {
  readonly #db: DatabaseSync
  readonly #insert: StatementSync
  readonly #one: StatementSync
  readonly #page: StatementSync
  readonly #since: StatementSync
  readonly #roots: StatementSync
  readonly #count: StatementSync
  readonly #all: StatementSync
  readonly #purge: StatementSync
  /** Sequence numbers belong to one file: who follows them starts over when it is another one. */
  readonly epoch: string

  constructor(file: string) {
    this.#db = new DatabaseSync(file)
    this.#db.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      CREATE TABLE IF NOT EXISTS claims (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL, key TEXT NOT NULL, hash TEXT,
        subject TEXT NOT NULL, reason TEXT NOT NULL,
        created_ms INTEGER NOT NULL, expires_ms INTEGER,
        updated_ms INTEGER NOT NULL, peer_id TEXT NOT NULL, deleted INTEGER NOT NULL,
        UNIQUE (kind, key));
      CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    `)
    const prepare = (sql: string): StatementSync => this.#db.prepare(sql)
    this.#insert = prepare(
      `INSERT OR REPLACE INTO claims (kind, key, hash, subject, reason, created_ms, expires_ms,
       updated_ms, peer_id, deleted) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    this.#one = prepare('SELECT * FROM claims WHERE kind = ? AND key = ?')
    this.#page = prepare(
      `SELECT * FROM claims WHERE kind = ? AND key > ? AND ${LIVE} ORDER BY key LIMIT ?`,
    )
    this.#since = prepare('SELECT * FROM claims WHERE sequence > ? ORDER BY sequence LIMIT ?')
    this.#roots = prepare(
      `SELECT sequence, hash FROM claims WHERE sequence > ? AND hash IS NOT NULL AND ${LIVE}
       ORDER BY sequence LIMIT ?`,
    )
    this.#count = prepare(`SELECT count(*) AS count FROM claims WHERE kind = ? AND ${LIVE}`)
    this.#all = prepare('SELECT count(*) AS count FROM claims')
    this.#purge = prepare(
      'DELETE FROM claims WHERE (deleted = 1 AND updated_ms < ?) OR expires_ms < ?',
    )
    prepare('INSERT OR IGNORE INTO meta VALUES (?, ?)').run('epoch', randomUUID())
    const row = prepare('SELECT value FROM meta WHERE name = ?').get('epoch')
    this.epoch = (row as { value: string }).value
  }

  /** Keeps a claim unless a later one is known or it is past being remembered. */
  apply(claim: Claim, nowMs: number): boolean {
    const known = this.find(claim.kind, claim.key)
    if (known ? !supersedes(claim, known) : isForgotten(claim, nowMs)) return false
    if (!known && this.#total() >= CLAIMS_MAX) {
      throw new OverloadedError(`A node keeps ${CLAIMS_MAX} claims.`, FULL_RETRY_SECONDS)
    }
    this.#insert.run(
      claim.kind,
      claim.key,
      claim.hash,
      claim.subject,
      claim.reason,
      claim.createdMs,
      claim.expiresMs,
      claim.updatedMs,
      claim.peerId,
      claim.deleted ? 1 : 0,
    )
    return true
  }

  /** Deleted and expired ones too. */
  find(kind: ClaimKind, key: string): Claim | undefined {
    const row = this.#one.get(kind, key)
    return row && toClaim(row)
  }

  /** What is in force, by key. */
  page(kind: ClaimKind, after: string, limit: number, nowMs: number): Claim[] {
    return this.#page.all(kind, after, nowMs, limit).map(toClaim)
  }

  /** Claims in the order in which this node learned of their last change. */
  since(sequence: number, limit: number): SequencedClaim[] {
    return this.#since
      .all(sequence, limit)
      .map((row) => ({ sequence: Number(row['sequence']), claim: toClaim(row) }))
  }

  /** Hashes that pins and leases keep. */
  roots(sequence: number, limit: number, nowMs: number): { sequence: number; hash: string }[] {
    return this.#roots.all(sequence, nowMs, limit) as { sequence: number; hash: string }[]
  }

  count(kind: ClaimKind, nowMs: number): number {
    return (this.#count.get(kind, nowMs) as { count: number }).count
  }

  /** Forgets what is past being remembered. */
  purge(nowMs: number): number {
    const { changes } = this.#purge.run(nowMs - TOMBSTONE_KEEP_MS, nowMs - EXPIRED_KEEP_MS)
    return Number(changes)
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close()
  }

  #total(): number {
    return (this.#all.get() as { count: number }).count
  }
}

function isForgotten(claim: Claim, nowMs: number): boolean {
  if (claim.expiresMs !== null && claim.expiresMs < nowMs - EXPIRED_KEEP_MS) return true
  return claim.deleted && claim.updatedMs < nowMs - TOMBSTONE_KEEP_MS
}

function toClaim(row: Record<string, unknown>): Claim {
  return {
    kind: row['kind'] as ClaimKind,
    key: row['key'] as string,
    hash: row['hash'] as string | null,
    subject: row['subject'] as string,
    reason: row['reason'] as string,
    createdMs: row['created_ms'] as number,
    expiresMs: row['expires_ms'] as number | null,
    updatedMs: row['updated_ms'] as number,
    peerId: row['peer_id'] as string,
    deleted: row['deleted'] === 1,
  }
}
