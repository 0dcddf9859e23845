import { describe, it } from 'vitest'

import { PostgresLimitStore } from '../../../functions/llm-proxy/limits/postgres-store.ts'
import { RedisLimitStore } from '../../../functions/llm-proxy/limits/redis-store.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'
import { limitStoreSuite } from '../../suites/limit-store.ts'

const { REDIS_URL } = process.env
const log = createSilentLogger()

describe('on PostgreSQL', () => {
  limitStoreSuite(async () => {
    const postgres = await startTestPostgres()
    const { url } = await postgres.openMigrated()
    return {
      create: (init) => new PostgresLimitStore({ log }, { url, ...init }),
      stop: () => postgres.stop(),
    }
  })
})

describe('on Redis', () => {
  it('runs where there is a Redis', (context) => {
    if (REDIS_URL === undefined) context.skip('npm run test:services brings the servers')
  })

  const url = REDIS_URL
  if (url === undefined) return
  limitStoreSuite(() => ({
    create: (init) => new RedisLimitStore({ log }, { url, ...init }),
    stop: () => Promise.resolve(),
  }))
})
