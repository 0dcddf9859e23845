import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'

import { runCli } from '../../../cli/cli.ts'
import {
  migrateDatabase,
  openDatabase,
  pendingMigrations,
  requireMigrated,
} from '../../../shared/db/database.ts'
import { MIGRATIONS } from '../../../shared/db/migrations.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { createCommandHost } from '../../helpers/command-host.ts'
import { startTestPostgres, type TestPostgres } from '../../helpers/postgres.ts'

const log = createSilentLogger()

let postgres: TestPostgres

beforeAll(async () => {
  postgres = await startTestPostgres()
})

afterAll(() => postgres.stop())

function open(url: string, init: { connectionsMax?: number } = {}) {
  const database = openDatabase(url, { log }, init)
  onTestFinished(() => database.close())
  return database
}

describe('database', () => {
  it('takes every migration once, in order, and a second time none', async () => {
    const { db } = open(await postgres.createDatabase())
    expect(await migrateDatabase(db)).toEqual(Object.keys(MIGRATIONS))
    expect(await migrateDatabase(db)).toEqual([])
    expect(Object.keys(MIGRATIONS)).toEqual(Object.keys(MIGRATIONS).toSorted())
  })

  it('is migrated once by replicas that start together', async () => {
    const url = await postgres.createDatabase()
    const applied = await Promise.all([1, 2, 3].map(() => migrateDatabase(open(url).db)))
    expect(applied.flat().toSorted()).toEqual(Object.keys(MIGRATIONS))
    expect(applied.filter((names) => names.length > 0)).toHaveLength(1)
  })

  it('lets the release before go on: what it wrote and read is still there', async () => {
    const { db } = open(await postgres.createDatabase())
    const columns = async () => {
      const tables = await db.introspection.getTables()
      const named = tables.map((table) => [
        table.name,
        table.columns.map(({ name, dataType, isNullable }) => `${name} ${dataType} ${isNullable}`),
      ])
      return Object.fromEntries(named) as Record<string, string[]>
    }
    let before: Record<string, string[]> = {}
    for (const [name, migration] of Object.entries(MIGRATIONS)) {
      await migration.up(db)
      const after = await columns()
      for (const [table, had] of Object.entries(before)) {
        expect(after[table], `${name} keeps ${table}`).toEqual(expect.arrayContaining(had))
        const added = after[table]!.filter((column) => !had.includes(column))
        // The release before inserts rows without it.
        for (const column of added) expect(column, name).toMatch(/ true$/)
      }
      before = after
    }
  })

  it('refuses a database that a newer release has migrated, and leaves it alone', async () => {
    const url = await postgres.createDatabase()
    const { db } = open(url)
    await migrateDatabase(db)
    await postgres.query(url, `insert into kysely_migration values ('9999-future', now()::text)`)
    await expect(migrateDatabase(db)).rejects.toMatchObject({ code: 'BZZZ_DATABASE_NEWER' })
  })

  it('is left alone by those who may not migrate it, who say what it lacks', async () => {
    const url = await postgres.createDatabase()
    const { db } = open(url)
    await expect(requireMigrated(db)).rejects.toMatchObject({ code: 'BZZZ_DATABASE_OLDER' })
    expect(await pendingMigrations(db)).toEqual(Object.keys(MIGRATIONS))
    const tables = `select count(*)::int as count from pg_tables where schemaname = 'public'`
    expect(await postgres.query(url, tables)).toEqual([{ count: 0 }])
    await migrateDatabase(db)
    await requireMigrated(db)
    expect(await pendingMigrations(db)).toEqual([])
  })

  it('is migrated by command, once', async () => {
    const DATABASE_URL = await postgres.createDatabase()
    const run = async (command: string) => {
      const { host, stdout } = createCommandHost({ DATABASE_URL })
      expect(await runCli(['db', command], host)).toBe(0)
      return stdout.text()
    }
    expect(await run('status')).toBe(`Lacks ${Object.keys(MIGRATIONS).join(', ')}.\n`)
    expect(await run('migrate')).toBe(`Made ${Object.keys(MIGRATIONS).join(', ')}.\n`)
    expect(await run('migrate')).toBe('Nothing was to be done.\n')
    expect(await run('status')).toBe('Up to date.\n')
  })

  it('opens no more connections than it was given', async () => {
    const url = await postgres.createDatabase()
    const { db } = open(url, { connectionsMax: 2 })
    const name = new URL(url).pathname.slice(1)
    const counting = sql<{ count: string }>`
      select count(*) as count, pg_sleep(0.05) from pg_stat_activity
      where datname = ${name} and application_name = 'bzzz'
    `
    const answers = await Promise.all(Array.from({ length: 8 }, () => counting.execute(db)))
    const seen = answers.map(({ rows }) => Number(rows[0]!.count))
    expect(Math.max(...seen)).toBe(2)
  })

  it('goes on after its connection was broken in the middle of a transaction', async () => {
    const { db } = open(await postgres.createDatabase(), { connectionsMax: 1 })
    const broken = db.transaction().execute(async (transaction) => {
      await sql`select pg_terminate_backend(pg_backend_pid())`.execute(transaction)
    })
    await expect(broken).rejects.toThrow()
    const { rows } = await sql<{ one: number }>`select 1 as one`.execute(db)
    expect(rows).toEqual([{ one: 1 }])
  })
})
