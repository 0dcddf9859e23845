import { describe, it } from 'vitest'

import { PostgresLimitStore } from '../../../functions/llm-proxy/limits/postgres-store.ts'
import { RedisLimitStore } from '../../../functions/llm-proxy/limits/redis-store.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { startTestPostgres } from '../../helpers/postgres.ts'
import { findRedisServer, startRedisServer } from '../../helpers/redis-server.ts'
import { limitStoreSuite } from '../../suites/limit-store.ts'

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
  const program = findRedisServer()
  it('runs where there is a Redis', (context) => {
    if (program === undefined) context.skip('redis-server is not installed')
  })

  if (program === undefined) return
  limitStoreSuite(async () => {
    const server = await startRedisServer(program)
    return {
      create: (init) => new RedisLimitStore({ log }, { url: server.url, ...init }),
      stop: () => server.stop(),
    }
  })
})
