import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { CopyLedger } from '../../../p2p-daemon/replication/copy-ledger.ts'
import { LedgerDatabase } from '../../../p2p-daemon/replication/ledger-database.ts'
import { RepairQueue, type RepairRequest } from '../../../p2p-daemon/replication/repair-queue.ts'

const hashes = Array.from({ length: 5 }, () => randomBytes(32).toString('hex')).toSorted()
const [A, B, C] = hashes as [string, string, string]

let dir: string
let file: string
let db: LedgerDatabase
let queue: RepairQueue

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'bzzz-queue-'))
  file = join(dir, 'replication.db')
  db = new LedgerDatabase(file)
  queue = new RepairQueue(db)
})
afterEach(() => {
  db.close()
  rmSync(dir, { recursive: true })
})

/** As a killed process leaves it: what was not written is gone. */
function restart(): void {
  const old = db
  db = new LedgerDatabase(file)
  queue = new RepairQueue(db)
  old.close()
}

const lost = (hash: string, more: Partial<RepairRequest> = {}): RepairRequest => ({
  hash,
  sizeBytes: 10,
  reason: 'lost_ack',
  missing: 1,
  short: 1,
  ...more,
})

describe('repair-queue', () => {
  it('keeps one job for a blob, however often it is asked for', async () => {
    await Promise.all([queue.add(lost(A)), queue.add(lost(A, { missing: 2 })), queue.add(lost(B))])
    expect(queue.totals()).toMatchObject({ queued: 2, owed: 3, short: 2 })
    expect(queue.claim(10).map(({ hash }) => hash)).toEqual(expect.arrayContaining([A, B]))
    expect(queue.claim(10)).toEqual([])
    expect(queue.totals()).toMatchObject({ queued: 0, running: 2 })
  })

  it('has on disk what was added, and makes it due after a kill', async () => {
    await queue.add(lost(A, { delayMs: 60_000 }))
    await queue.add(lost(B, { waitingFor: ['peer'] }))
    queue.claim(1)
    restart()
    expect(db.incomplete).toBe(true)
    expect(db.created).toBe(false)
    expect(
      queue
        .claim(10)
        .map(({ hash }) => hash)
        .toSorted(),
    ).toEqual([A, B])
  })

  it('writes what was added soon without anybody waiting', () => {
    queue.addSoon(lost(A))
    queue.flush()
    restart()
    expect(queue.totals()).toMatchObject({ queued: 1 })
  })

  it('takes jobs with missing copies before those that only tidy up', async () => {
    await queue.add({ hash: A, sizeBytes: 1, reason: 'surplus' })
    await queue.add(lost(B))
    expect(queue.claim(1)[0]?.hash).toBe(B)
    expect(queue.claim(1)[0]?.hash).toBe(A)
  })

  it('says when the next job is due, and hands it out then', async () => {
    expect(queue.nextDueMs()).toBeUndefined()
    await queue.add(lost(A, { delayMs: 60_000 }))
    expect(queue.claim(1)).toEqual([])
    expect(queue.nextDueMs()).toBeGreaterThan(performance.now() + 50_000)
    expect(queue.dueCount(10)).toBe(0)
    await queue.add(lost(A))
    expect(queue.dueCount(10)).toBe(1)
    expect(queue.claim(1)).toHaveLength(1)
  })

  it('runs a job again that was asked for while it ran', async () => {
    await queue.add(lost(A))
    const [job] = queue.claim(1)
    await queue.add(lost(A, { reason: 'corrupt' }))
    expect(queue.claim(1)).toEqual([])
    queue.finish(job!.hash)
    expect(queue.claim(1)).toMatchObject([{ hash: A, reason: 'corrupt', attempts: 0 }])
    queue.finish(A)
    expect(queue.totals()).toMatchObject({ queued: 0, running: 0, owed: 0, short: 0 })
  })

  it('counts attempts and waits between them', async () => {
    await queue.add(lost(A))
    queue.claim(1)
    queue.retry(A, { delayMs: 0, missing: 1, short: 1 })
    expect(queue.claim(1)).toMatchObject([{ attempts: 1 }])
    queue.retry(A, { delayMs: 60_000, missing: 1, short: 0 })
    expect(queue.claim(1)).toEqual([])
    expect(queue.totals()).toMatchObject({ queued: 1, owed: 1, short: 0 })
  })

  it('releases what waits for a peer when that peer comes, and no other', async () => {
    await queue.add(lost(A, { waitingFor: ['walnut', 'acacia'] }))
    await queue.add(lost(B, { waitingFor: ['ironwood'] }))
    await queue.add(lost(C, { waitingFor: [] }))
    expect(queue.totals()).toMatchObject({ queued: 0, parked: 3 })
    queue.release('aca')
    expect(queue.claim(10).map(({ hash }) => hash)).toEqual([C])
    queue.release('acacia')
    expect(queue.claim(10).map(({ hash }) => hash)).toEqual([A])
    queue.release()
    expect(queue.claim(10).map(({ hash }) => hash)).toEqual([B])
  })

  it('does not park a job whose peer came while it ran', async () => {
    await queue.add(lost(A))
    const [job] = queue.claim(1)
    queue.release('walnut')
    queue.park(job!, { waitingFor: ['walnut'], missing: 1, short: 1 })
    expect(queue.claim(1)).toHaveLength(1)
  })

  it('forgets a job whose copies came by themselves, unless it runs', async () => {
    await queue.add(lost(A))
    await queue.add(lost(B))
    queue.claim(1)
    queue.removeSoon(A)
    queue.removeSoon(B)
    queue.flush()
    expect(queue.totals()).toMatchObject({ queued: 0, running: 1 })
  })

  it('says so when the disk refuses what a put is to be acknowledged on, and keeps the rest', async () => {
    const other = new DatabaseSync(file)
    other.exec('BEGIN IMMEDIATE')
    await expect(queue.add(lost(A))).rejects.toMatchObject({ code: 'BZZZ_STORAGE_UNAVAILABLE' })
    queue.addSoon(lost(B))
    queue.flush()
    other.exec('ROLLBACK')
    other.close()
    queue.flush()
    expect(
      queue
        .claim(10)
        .map(({ hash }) => hash)
        .toSorted(),
    ).toEqual([A, B])
  })
})

describe('ledger-database', () => {
  it('knows whether it was closed', () => {
    expect(db).toMatchObject({ created: true, incomplete: true })
    db.close()
    db = new LedgerDatabase(file)
    expect(db).toMatchObject({ created: false, incomplete: false })
    db.transaction(() => db.setMeta('written', 'something'))
    restart()
    expect(db).toMatchObject({ created: false, incomplete: true })
  })

  it('replaces a file that is no database: what it held can be found again', () => {
    db.close()
    writeFileSync(file, 'not a database'.repeat(1000))
    db = new LedgerDatabase(file)
    expect(db).toMatchObject({ created: true, incomplete: true })
    expect(new RepairQueue(db).totals()).toMatchObject({ queued: 0 })
  })
})

describe('copy-ledger', () => {
  it('knows who holds what, before and after it is written', () => {
    const copies = new CopyLedger(db)
    copies.held(A, 'walnut')
    copies.held(A, 'acacia')
    copies.held(B, 'walnut')
    expect(copies.holders(A)).toEqual(['walnut', 'acacia'])
    copies.flush()
    copies.lacks(A, 'walnut')
    expect(copies.holders(A)).toEqual(['acacia'])
    copies.flush()
    expect(new CopyLedger(db).holders(A)).toEqual(['acacia'])
    expect(new CopyLedger(db).holders(B)).toEqual(['walnut'])
  })

  it('forgets blobs of a range that are no longer here', () => {
    const copies = new CopyLedger(db)
    for (const hash of hashes) copies.held(hash, 'walnut')
    copies.prune(hashes[0]!, hashes[3]!, [hashes[2]!])
    const known = hashes.map((hash) => copies.holders(hash).length)
    expect(known).toEqual([1, 0, 1, 0, 1])
  })

  it('remembers nodes as they were last seen', () => {
    const copies = new CopyLedger(db)
    const walnut = { peerId: 'p', name: 'walnut', weight: 1, zone: 'a', storage: true }
    copies.remember(walnut)
    copies.remember({ ...walnut, weight: 2 })
    expect(new CopyLedger(db).remembered()).toEqual([{ ...walnut, weight: 2 }])
  })
})
