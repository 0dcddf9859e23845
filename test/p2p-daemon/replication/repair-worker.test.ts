import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import type { Settled } from '../../../p2p-daemon/replication/blob-settlement.ts'
import { LedgerDatabase } from '../../../p2p-daemon/replication/ledger-database.ts'
import { RepairQueue, type RepairJob } from '../../../p2p-daemon/replication/repair-queue.ts'
import { RepairWorker } from '../../../p2p-daemon/replication/repair-worker.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { until } from '../../helpers/mesh.ts'

let dir: string
let db: LedgerDatabase
let queue: RepairQueue
let worker: RepairWorker
let settle: (job: RepairJob, signal: AbortSignal) => Promise<Settled>
let results: string[]

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'bzzz-worker-'))
  db = new LedgerDatabase(join(dir, 'replication.db'))
  queue = new RepairQueue(db)
  settle = async () => ({ state: 'done', result: 'repaired' })
  results = []
  worker = new RepairWorker(
    {
      queue,
      settlement: { settle: (job, signal) => settle(job, signal) },
      log: createSilentLogger(),
      onRepair: (reason, result) => results.push(`${reason} ${result}`),
    },
    { concurrentMax: 2, backoffMinMs: 5 },
  )
})
afterEach(async () => {
  await worker.stop()
  db.close()
  rmSync(dir, { recursive: true })
})

async function add(count: number): Promise<void> {
  const hashes = Array.from({ length: count }, () => randomBytes(32).toString('hex'))
  await Promise.all(
    hashes.map((hash) => queue.add({ hash, sizeBytes: 1, reason: 'lost_ack', missing: 1 })),
  )
}

const isEmpty = (): boolean => {
  const { queued, parked, running } = queue.totals()
  return queued + parked + running === 0
}

describe('repair-worker', () => {
  it('does what is queued before and after it starts', async () => {
    await add(3)
    await worker.start()
    await add(3)
    await until(isEmpty, 'an empty queue')
    expect(results).toEqual(Array(6).fill('lost_ack repaired'))
  })

  it('repairs a few at a time', async () => {
    let running = 0
    let most = 0
    settle = async () => {
      most = Math.max(most, (running += 1))
      await new Promise((resolve) => setImmediate(resolve))
      running -= 1
      return { state: 'done', result: 'unneeded' }
    }
    await worker.start()
    await add(20)
    await until(isEmpty, 'an empty queue')
    expect(most).toBe(2)
  })

  it('tries again what failed, each time later', async () => {
    const attempts: number[] = []
    settle = async ({ attempts: count }) => {
      attempts.push(count)
      if (count === 1) throw new Error('unexpected')
      return count < 3
        ? { state: 'failed', error: new Error('away'), missing: 1, short: 1 }
        : { state: 'done', result: 'repaired' }
    }
    await worker.start()
    await add(1)
    await until(isEmpty, 'an empty queue')
    expect(attempts).toEqual([0, 1, 2, 3])
    expect(results).toEqual([...Array<string>(3).fill('lost_ack failed'), 'lost_ack repaired'])
  })

  it('leaves what waits for a node until that node is back', async () => {
    settle = async () => ({ state: 'waiting', waitingFor: ['walnut'], missing: 1, short: 1 })
    await worker.start()
    await add(1)
    await until(() => queue.totals().parked === 1, 'the job to be parked')
    expect(queue.totals()).toMatchObject({ owed: 1, short: 1 })
    settle = async () => ({ state: 'done', result: 'repaired' })
    queue.release('walnut')
    await until(isEmpty, 'an empty queue')
  })

  it('begins nothing while it is paused', async () => {
    await worker.start()
    worker.pause()
    await add(2)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(queue.totals()).toMatchObject({ queued: 2, running: 0 })
    worker.resume()
    await until(isEmpty, 'an empty queue')
  })

  it('stops in the middle of a repair, which is as if it had not begun', async () => {
    let isRunning = false
    settle = (_job, signal) =>
      new Promise((_resolve, reject) => {
        isRunning = true
        signal.addEventListener('abort', () => reject(signal.reason as Error))
      })
    await worker.start()
    await add(1)
    await until(() => isRunning, 'the repair to run')
    await worker.stop()
    expect(queue.totals()).toMatchObject({ queued: 1, running: 0, owed: 1 })
    expect(results).toEqual([])
    settle = async () => ({ state: 'done', result: 'repaired' })
    await worker.start()
    await until(isEmpty, 'an empty queue')
  })
})
