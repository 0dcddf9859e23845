import pg from 'pg'
import { describe, expect, it } from 'vitest'

import { createSilentLogger } from '../../../shared/log/log.ts'
import { openQueue } from '../../../shared/queue/open-queue.ts'
import { sleep } from '../../faults/rounds.ts'
import { createQueueDatabase } from '../../helpers/queue-server.ts'

const CUTS = 50
const SUBMITTERS = 4
/** It takes 0.2 s; an operation that waits for a connection that is gone gives up after 5 s. */
const RECOVERY_MS_MAX = 30_000

describe('postgres-backend', () => {
  it('ends no process when connections are cut at any moment, lent out or not', async (context) => {
    const { DATABASE_URL } = process.env
    if (DATABASE_URL === undefined) return context.skip('npm run test:services brings the servers')
    const database = await createQueueDatabase(DATABASE_URL)
    const admin = new pg.Client({ connectionString: database.url })
    await admin.connect()
    const queue = openQueue({ log: createSilentLogger() }, { databaseURL: database.url })!
    const call = { function: 'worker', path: '/', headers: {}, body: '' }
    let going = true
    let accepted = 0
    const submitters = Array.from({ length: SUBMITTERS }, async () => {
      while (going) {
        const taken = await queue.submit({ topic: 'calls', call }).catch(() => null)
        if (taken) accepted += 1
        else await sleep(5)
      }
    })
    for (let cut = 0; cut < CUTS; cut += 1) {
      await sleep(Math.random() * 20)
      // An exception that nobody hears fails the run, as it would end the process.
      await admin.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where application_name = 'bzzz-queue' and datname = current_database()`,
      )
    }
    const before = accepted
    // Also a queue whose very first connection was cut must come back by itself.
    await expect.poll(() => accepted, { timeout: RECOVERY_MS_MAX }).toBeGreaterThan(before)
    going = false
    await Promise.all(submitters)
    await queue.close()
    await admin.end()
    await database.drop()
  })
})
