import { setTimeout as sleep } from 'node:timers/promises'

import type { FastifyInstance } from 'fastify'
import pg from 'pg'

import type { FunctionContext } from '../../../../shared/function/function.ts'

/** A call takes so long at most, half before its effect and half after, so that kills hit both. */
const CALL_MS_MAX = 200

/**
 * Adds one to a counter for each idempotency key. Key and counter are one transaction: that is how
 * a function has its effect once although it is called again.
 */
export default async function counter(app: FastifyInstance, { env }: FunctionContext) {
  const pool = new pg.Pool({ connectionString: env['DATABASE_URL'], max: 4 })
  pool.on('error', () => undefined)
  app.addHook('onClose', () => pool.end())
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body))

  app.post('/', async (request) => {
    const key = String(request.headers['idempotency-key'])
    await sleep((Math.random() * CALL_MS_MAX) / 2)
    await pool.query('insert into calls (key) values ($1)', [key])
    const { rowCount } = await pool.query(
      `with first as (insert into keys (key) values ($1) on conflict do nothing returning key)
       update counter set n = n + 1 where exists (select from first)`,
      [key],
    )
    await sleep((Math.random() * CALL_MS_MAX) / 2)
    return { key, effect: rowCount }
  })
}
