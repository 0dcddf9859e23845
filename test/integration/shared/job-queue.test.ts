import { describe, it } from 'vitest'

import { createSilentLogger } from '../../../shared/log/log.ts'
import { openQueue, type OpenQueueInit } from '../../../shared/queue/open-queue.ts'
import { createQueueDatabase, startQueueServer } from '../../helpers/queue-server.ts'
import { jobQueueSuite } from '../../suites/job-queue.ts'

const { DATABASE_URL, REDIS_URL } = process.env

const creator = (init: OpenQueueInit) => () =>
  openQueue({ log: createSilentLogger() }, { ...init, workers: 4 })!

describe('on PostgreSQL', () => {
  jobQueueSuite(async () => {
    // A server of the distribution where `npm run test:services` brings one, else our own.
    if (DATABASE_URL === undefined) {
      const server = await startQueueServer()
      return { create: creator({ databaseURL: server.url }), stop: () => server.stop() }
    }
    const database = await createQueueDatabase(DATABASE_URL)
    return { create: creator({ databaseURL: database.url }), stop: () => database.drop() }
  })
})

describe('on Redis', () => {
  it('runs where there is a Redis', (context) => {
    if (REDIS_URL === undefined) context.skip('npm run test:services brings the servers')
  })

  const redisURL = REDIS_URL
  if (redisURL === undefined) return
  jobQueueSuite(async () => ({
    create: creator({ redisURL }),
    stop: () => Promise.resolve(),
  }))
})
