import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import pg from 'pg'

import { EmbeddedPostgres } from '../../cli/up/postgres/embedded-postgres.ts'
import { migrateDatabase, openDatabase, type OpenDatabase } from '../../shared/db/database.ts'
import { createSilentLogger } from '../../shared/log/log.ts'

export interface TestPostgres {
  /** Of the server; databases are made beside the one it names. */
  url: string
  /** Connection string of a new, empty database. */
  createDatabase(): Promise<string>
  /** Opens a new database with the schema in it. It is closed with the server. */
  openMigrated(): Promise<OpenDatabase & { url: string }>
  /** Runs one statement as whoever owns the database. */
  query(url: string, text: string): Promise<Record<string, unknown>[]>
  stop(): Promise<void>
}

/** One server for a test file: that of `npm run test:services`, else an embedded one. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const { BZZZ_TEST_SERVICES, DATABASE_URL } = process.env
  if (BZZZ_TEST_SERVICES !== undefined && DATABASE_URL !== undefined) {
    return createTestPostgres(DATABASE_URL, async (made) => {
      for (const name of made) await query(DATABASE_URL, `drop database ${name} with (force)`)
    })
  }
  const folder = await mkdtemp(join(tmpdir(), 'bzzz-test-postgres-'))
  const server = new EmbeddedPostgres(
    { log: createSilentLogger() },
    {
      folder: join(folder, 'postgres'),
      logFile: join(folder, 'postgres.log'),
      initialised: false,
      onInitialised: async () => undefined,
    },
  )
  // Its databases go with its folder; to drop each would take longer than most tests.
  return createTestPostgres(await server.start(), async () => {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  })
}

function createTestPostgres(
  url: string,
  stopServer: (made: readonly string[]) => Promise<void>,
): TestPostgres {
  const log = createSilentLogger()
  const open: OpenDatabase[] = []
  const made: string[] = []
  const createDatabase = async () => {
    const name = `test_${process.pid}_${Date.now()}_${made.length}`
    await query(url, `create database ${name}`)
    made.push(name)
    return Object.assign(new URL(url), { pathname: `/${name}` }).href
  }
  return {
    url,
    createDatabase,
    query,
    openMigrated: async () => {
      const own = await createDatabase()
      const database = openDatabase(own, { log })
      open.push(database)
      await migrateDatabase(database.db)
      return { ...database, url: own }
    },
    stop: async () => {
      await Promise.all(open.map((database) => database.close()))
      await stopServer(made)
    },
  }
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => undefined)
  await client.connect()
  try {
    return (await client.query(text)).rows as Record<string, unknown>[]
  } finally {
    await client.end()
  }
}
