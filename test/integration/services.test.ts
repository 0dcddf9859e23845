import pg from 'pg'
import pino from 'pino'
import { describe, expect, it, onTestFinished } from 'vitest'
import { RedisCache } from '../../shared/cache/redis-cache.ts'
import { migrateDatabase, openDatabase } from '../../shared/db/database.ts'

/** Set by `npm run test:services`; without it there is nothing here to test against. */
const { BZZZ_TEST_SERVICES, DATABASE_URL, REDIS_URL } = process.env
const MISSING = 'npm run test:services brings the servers'

const log = pino({ level: 'silent' })

/** A database of its own on the given server, dropped after the test. */
async function freshDatabase(url: string): Promise<string> {
  const name = `services_${process.pid}_${Date.now()}`
  const server = new pg.Client({ connectionString: url })
  await server.connect()
  await server.query(`create database ${name}`)
  onTestFinished(async () => {
    await server.query(`drop database ${name} with (force)`)
    await server.end()
  })
  return Object.assign(new URL(url), { pathname: `/${name}` }).href
}

describe('services of the distribution', () => {
  it('are both there when they were asked for', (context) => {
    if (BZZZ_TEST_SERVICES === undefined) context.skip(MISSING)
    expect(DATABASE_URL).toMatch(/^postgres:\/\//)
    expect(REDIS_URL).toMatch(/^redis:\/\//)
  })

  it('take the schema once, and a second time without a change', async (context) => {
    if (DATABASE_URL === undefined) return context.skip(MISSING)
    const database = openDatabase(await freshDatabase(DATABASE_URL), { log })
    onTestFinished(() => database.close())
    expect(await migrateDatabase(database.db)).not.toEqual([])
    expect(await migrateDatabase(database.db)).toEqual([])
  })

  it('migrate once when two replicas start together', async (context) => {
    if (DATABASE_URL === undefined) return context.skip(MISSING)
    const url = await freshDatabase(DATABASE_URL)
    const replicas = [openDatabase(url, { log }), openDatabase(url, { log })]
    onTestFinished(() =>
      Promise.all(replicas.map((replica) => replica.close())).then(() => undefined),
    )
    const applied = await Promise.all(replicas.map(({ db }) => migrateDatabase(db)))
    expect(applied.filter((names) => names.length > 0)).toHaveLength(1)
  })

  it('share a cache between replicas', async (context) => {
    if (REDIS_URL === undefined) return context.skip(MISSING)
    const [one, other] = [
      new RedisCache({ log }, { url: REDIS_URL }),
      new RedisCache({ log }, { url: REDIS_URL }),
    ]
    onTestFinished(() => Promise.all([one.close(), other.close()]).then(() => undefined))
    const key = `services:${process.pid}`
    // The connection is made in the background, and until then a cache forgets what it is told.
    await expect
      .poll(async () => {
        await one.set(key, { kept: true }, 60_000)
        return other.get(key)
      })
      .toEqual({ kept: true })
    await other.delete(key)
    expect(await one.get(key)).toBeUndefined()
  })
})
