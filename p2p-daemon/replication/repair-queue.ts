import type { BlobStat } from '../store/blob-store.ts'
import { QUEUE_FLUSH_MS, QUEUE_RETRY_MS, QUEUE_UNWRITTEN_MAX } from './constants.ts'
import { fromKey, toKey, type LedgerDatabase } from './ledger-database.ts'

/** Why a blob needs looking after; see docs/REPLICATION.md. */
export type RepairReason =
  | 'lost_ack'
  | 'membership'
  | 'scrub'
  | 'corrupt'
  | 'drain'
  | 'read_repair'
  | 'handoff'
  | 'surplus'

export interface RepairRequest extends BlobStat {
  reason: RepairReason
  /** Copies that proper holders lack. */
  missing?: number
  /** Copies that are lacking to the full number, stand-ins counted. */
  short?: number
  /** The copy here stands in for this peer's. */
  heldFor?: string
  /** Nothing can be done before one of these is back. */
  waitingFor?: readonly string[]
  delayMs?: number
}

export interface RepairJob extends BlobStat {
  reason: RepairReason
  attempts: number
  /** How many releases there had been when it was taken. */
  releases: number
}

export interface QueueTotals {
  queued: number
  /** Waiting for a node to come back. */
  parked: number
  running: number
  /** Copies that proper holders lack. */
  owed: number
  /** Blobs with fewer copies than they should have anywhere. */
  short: number
  /** Copies here that stand in for another node's. */
  handedOff: number
}

const ADD = `
  INSERT INTO jobs (hash, size, reason, state, not_before, missing, short, held_for, waiting_for)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (hash) DO UPDATE SET
    size = max(size, excluded.size),
    reason = CASE WHEN reason = 'surplus' OR excluded.reason = 'corrupt'
      THEN excluded.reason ELSE reason END,
    again = again OR state = 'running',
    not_before = CASE WHEN state = 'queued' THEN min(not_before, excluded.not_before)
      ELSE excluded.not_before END,
    state = CASE WHEN state IN ('running', 'queued') THEN state ELSE excluded.state END,
    missing = max(missing, excluded.missing),
    short = max(short, excluded.short),
    held_for = coalesce(excluded.held_for, held_for),
    waiting_for = excluded.waiting_for
`

/** A condition of its own for each kind, so that the index answers it. */
const DUE = `SELECT * FROM jobs WHERE state = 'queued' AND (missing > 0) = ? AND not_before <= ?
  ORDER BY not_before LIMIT ?`

/**
 * The repairs this node owes, by hash: at most one for each blob, however often it is asked for.
 * It lies on the node's own disk because copies must be made good while Postgres and Redis are
 * down. Times are counted from the start of the process; a restart makes everything due at once.
 */
export class RepairQueue {
  readonly #db: LedgerDatabase
  readonly #flushMs: number
  #pending: (() => void)[] = []
  #waiters: { resolve: () => void; reject: (error: unknown) => void }[] = []
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined
  #onChange: () => void = () => undefined
  #releases = 0

  constructor(db: LedgerDatabase, init: { flushMs?: number } = {}) {
    this.#db = db
    this.#flushMs = init.flushMs ?? QUEUE_FLUSH_MS
    // What the run before left behind is due, as soon as the disk takes the first write.
    const sql = `UPDATE jobs SET state = 'queued', not_before = 0, again = 0
      WHERE state <> 'queued' OR not_before > 0`
    this.#pending.push(() => db.run(sql))
  }

  /** Called whenever something may have become due. */
  onChange(listener: () => void): void {
    this.#onChange = listener
  }

  /**
   * Resolves when the job survives a power cut. Those that come within the same turn share one
   * sync of the disk.
   */
  add(request: RepairRequest): Promise<void> {
    this.#pending.push(() => this.#insert(request))
    const written = new Promise<void>((resolve, reject) => {
      this.#waiters.push({ resolve, reject })
    })
    this.#immediate ??= setImmediate(() => this.#commit())
    return written
  }

  /** Written behind the caller; lost in a crash, and found again by a scan. */
  addSoon(request: RepairRequest): void {
    this.#soon(() => this.#insert(request))
  }

  /** The copies came by themselves. A job that runs already ends by itself. */
  removeSoon(hash: string): void {
    this.#soon(() =>
      this.#db.run("DELETE FROM jobs WHERE hash = ? AND state <> 'running'", toKey(hash)),
    )
  }

  /** Takes jobs that are due, those with missing copies first. @throws StorageUnavailableError */
  claim(limit: number): RepairJob[] {
    this.flush()
    const nowMs = performance.now()
    const rows = this.#db.all(DUE, 1, nowMs, limit)
    if (rows.length < limit) rows.push(...this.#db.all(DUE, 0, nowMs, limit - rows.length))
    if (rows.length === 0) return []
    this.#db.transaction(() => {
      for (const row of rows) {
        this.#db.run("UPDATE jobs SET state = 'running' WHERE hash = ?", row['hash'] as Uint8Array)
      }
    })
    return rows.map((row) => ({
      hash: fromKey(row['hash']),
      sizeBytes: Number(row['size']),
      reason: String(row['reason']) as RepairReason,
      attempts: Number(row['attempts']),
      releases: this.#releases,
    }))
  }

  /** Done, unless it was asked for again meanwhile. */
  finish(hash: string): void {
    this.#end(hash, () => this.#db.run('DELETE FROM jobs WHERE hash = ?', toKey(hash)))
  }

  /** Goes on when one of `waitingFor` joins, or when the members change. */
  park(
    job: Pick<RepairJob, 'hash' | 'releases'>,
    left: { waitingFor: readonly string[]; missing: number; short: number },
  ): void {
    const { waitingFor, missing, short } = left
    // Whom it waits for may have come while it ran: then it is due again.
    const state = job.releases === this.#releases ? 'parked' : 'queued'
    this.#end(job.hash, () => {
      const sql = `UPDATE jobs SET state = ?, attempts = 0, not_before = 0, waiting_for = ?,
        missing = ?, short = ? WHERE hash = ?`
      this.#db.run(sql, state, waitingList(waitingFor), missing, short, toKey(job.hash))
    })
  }

  retry(hash: string, left: { delayMs: number; missing: number; short: number }): void {
    const { delayMs, missing, short } = left
    this.#end(hash, () => {
      const sql = `UPDATE jobs SET state = 'queued', attempts = attempts + 1, not_before = ?,
        missing = ?, short = ? WHERE hash = ?`
      this.#db.run(sql, performance.now() + delayMs, missing, short, toKey(hash))
    })
  }

  /** A job that was interrupted by a stop is as if it had not begun. */
  putBack(hash: string): void {
    const sql = "UPDATE jobs SET state = 'queued' WHERE hash = ?"
    this.#db.transaction(() => this.#db.run(sql, toKey(hash)))
  }

  /**
   * `peerId` is back: what waits for it, or for nobody in particular, is due. Without it:
   * everything that waits.
   */
  release(peerId?: string): void {
    if (!this.#db.isOpen) return
    this.#releases += 1
    const sql = `UPDATE jobs SET state = 'queued', not_before = 0 WHERE state = 'parked'
      AND (?1 IS NULL OR waiting_for = '' OR instr(waiting_for, ?1) > 0)`
    const mine = peerId === undefined ? null : mark(peerId)
    // Behind those that wait to be written, which may be among those it is about.
    this.#pending.push(() => this.#db.run(sql, mine))
    this.#immediate ??= setImmediate(() => this.#commit())
  }

  /** When the next job is due, as performance.now() counts; undefined when none is queued. */
  nextDueMs(): number | undefined {
    const sql = `SELECT not_before FROM jobs WHERE state = 'queued' AND (missing > 0) = ?
      ORDER BY not_before LIMIT 1`
    const dues = [0, 1].map((kind) => this.#db.get(sql, kind)?.['not_before'])
    const times = dues.filter((due) => typeof due === 'number')
    return times.length > 0 ? Math.min(...times) : undefined
  }

  /** Jobs that are due now, counted up to `most`. */
  dueCount(most: number): number {
    const sql = `SELECT count(*) AS count FROM (
      SELECT 1 FROM jobs WHERE state = 'queued' AND (missing > 0) = ? AND not_before <= ? LIMIT ?)`
    const count = (kind: number): number =>
      Number(this.#db.get(sql, kind, performance.now(), most)?.['count'])
    return Math.min(count(0) + count(1), most)
  }

  count(reason: RepairReason): number {
    const sql = 'SELECT count(*) AS count FROM jobs WHERE reason = ?'
    return Number(this.#db.get(sql, reason)?.['count'])
  }

  totals(): QueueTotals {
    this.flush()
    const rows = this.#db.all('SELECT * FROM totals')
    const sum = (column: string): number =>
      rows.reduce((total, row) => total + Number(row[column]), 0)
    const jobs = (state: string): number =>
      Number(rows.find((row) => row['state'] === state)?.['jobs'] ?? 0)
    return {
      queued: jobs('queued'),
      parked: jobs('parked'),
      running: jobs('running'),
      owed: sum('owed'),
      short: sum('short'),
      handedOff: sum('held'),
    }
  }

  flush(): void {
    this.#commit()
  }

  #soon(write: () => void): void {
    if (!this.#db.isOpen) return
    this.#pending.push(write)
    this.#timer ??= setTimeout(() => this.#commit(), this.#flushMs).unref()
  }

  #commit(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
    this.#timer = this.#immediate = undefined
    if (this.#pending.length === 0) return
    const [work, waiters] = [this.#pending, this.#waiters]
    this.#pending = []
    this.#waiters = []
    try {
      const durable = waiters.length > 0
      this.#db.transaction(() => work.forEach((write) => write()), { durable })
      for (const { resolve } of waiters) resolve()
    } catch (error) {
      for (const { reject } of waiters) reject(error)
      this.#keep(work)
      return
    }
    this.#onChange()
  }

  /** The disk refused: what nobody is told of is tried again, as much as memory is worth it. */
  #keep(work: (() => void)[]): void {
    if (!this.#db.isOpen) return
    this.#pending.unshift(...work.slice(0, QUEUE_UNWRITTEN_MAX))
    this.#timer ??= setTimeout(() => this.#commit(), QUEUE_RETRY_MS).unref()
  }

  #insert(request: RepairRequest): void {
    const { hash, sizeBytes, reason, missing = 0, short = 0, heldFor, waitingFor } = request
    const state = waitingFor ? 'parked' : 'queued'
    const notBeforeMs = performance.now() + (request.delayMs ?? 0)
    const list = waitingList(waitingFor ?? [])
    const values = [state, notBeforeMs, missing, short, heldFor ?? null, list]
    this.#db.run(ADD, toKey(hash), sizeBytes, reason, ...values)
  }

  #end(hash: string, otherwise: () => void): void {
    const again = `UPDATE jobs SET state = 'queued', again = 0, attempts = 0
      WHERE hash = ? AND again = 1`
    this.#db.transaction(() => {
      if (this.#db.run(again, toKey(hash)) === 0) otherwise()
    })
  }
}

/** Peer ids with a mark on both sides, so that a search finds whole ids only. */
function waitingList(peerIds: readonly string[]): string {
  return peerIds.map(mark).join('')
}

function mark(peerId: string): string {
  return `|${peerId}|`
}
