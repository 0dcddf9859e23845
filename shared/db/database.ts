import { Kysely, Migrator, PostgresDialect } from 'kysely'
import pg from 'pg'

import { DatabaseNewerError, DatabaseOlderError, DatabaseUnavailableError } from '../errors.ts'
import type { Logger } from '../log/log.ts'
import { MIGRATIONS } from './migrations.ts'
import type { Schema } from './schema.ts'

export type BzzzDatabase = Kysely<Schema>

/** Connections of one pool unless its owner asks for fewer; docs/SECURITY.md adds them up. */
const POOL_CONNECTIONS_MAX = 5

/** A database that does not answer a connect in this time is treated as away. */
const CONNECT_TIMEOUT_MS = 5_000

/** No statement of ours runs longer; one that does holds a connection others need. */
const STATEMENT_TIMEOUT_MS = 15_000

/** A server that stands still does not even end the statement; then the client gives up. */
const ANSWER_TIMEOUT_MS = 20_000

export interface OpenDatabase {
  db: BzzzDatabase
  /** Host, port and name, without credentials. */
  description: string
  close(): Promise<void>
}

/** Opens a small pool. No connection is made until the first query. */
export function openDatabase(
  url: string,
  { log }: { log: Logger },
  init: { connectionsMax?: number } = {},
): OpenDatabase {
  const pool = new pg.Pool({
    connectionString: url,
    max: init.connectionsMax ?? POOL_CONNECTIONS_MAX,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    application_name: 'bzzz',
  })
  // A connection that breaks between two statements of a transaction tells nobody but itself.
  pool.on('connect', (client) => client.on('error', () => undefined))
  // An idle connection that breaks must not end the process; the next query opens a new one.
  pool.on('error', (error) => log.warn({ reason: error.message }, 'database connection lost'))
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  let closed: Promise<void> | undefined
  return { db, description: describeDatabase(url), close: () => (closed ??= db.destroy()) }
}

/** Host, port and database of a connection string: what may be shown of it. */
export function describeDatabase(url: string): string {
  try {
    const { hostname, port, pathname } = new URL(url)
    return `${hostname || 'localhost'}:${port || '5432'}${pathname}`
  } catch {
    return 'an unreadable DATABASE_URL'
  }
}

/**
 * Connects once, so that a wrong address is known at start.
 * @throws DatabaseUnavailableError with host and reason, never the password
 */
export async function checkDatabase(url: string): Promise<void> {
  const where = describeDatabase(url)
  try {
    const client = new pg.Client({
      connectionString: url,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    })
    client.on('error', () => undefined)
    await client.connect()
    await client.end()
  } catch (error) {
    throw new DatabaseUnavailableError(
      `PostgreSQL at ${where} cannot be used: ${reasonOf(error)}. Check DATABASE_URL.`,
    )
  }
}

function reasonOf(error: unknown): string {
  const inner = error instanceof AggregateError ? error.errors[0] : error
  return inner instanceof Error ? inner.message.replace(/\.$/, '') : 'unknown reason'
}

/**
 * Brings the schema up to this version. Kysely's migrator holds an advisory lock, so replicas that
 * start together do it once.
 * @throws DatabaseNewerError when a newer release already changed the schema
 */
export async function migrateDatabase(db: BzzzDatabase): Promise<readonly string[]> {
  const known = Object.keys(MIGRATIONS)
  const migrator = new Migrator({
    db,
    provider: { getMigrations: () => Promise.resolve({ ...MIGRATIONS }) },
  })
  await refuseNewer(db, known)
  const { error, results } = await migrator.migrateToLatest()
  if (error) throw error
  return (results ?? []).map((result) => result.migrationName)
}

/**
 * For those who must not migrate: a database of somebody else's is changed only when told.
 * @throws DatabaseOlderError, DatabaseNewerError
 */
export async function requireMigrated(db: BzzzDatabase): Promise<void> {
  const pending = await pendingMigrations(db)
  if (pending.length === 0) return
  throw new DatabaseOlderError(
    `The database lacks ${pending.join(', ')}: run bzzz db migrate, or set BZZZ_MIGRATE=true.`,
  )
}

/** Migrations that are still to be made. @throws DatabaseNewerError */
export async function pendingMigrations(db: BzzzDatabase): Promise<readonly string[]> {
  const known = Object.keys(MIGRATIONS)
  await refuseNewer(db, known)
  const applied = await appliedMigrations(db)
  return known.filter((name) => !applied.includes(name))
}

async function appliedMigrations(db: BzzzDatabase): Promise<readonly string[]> {
  const tables = await db.introspection.getTables({ withInternalKyselyTables: true })
  if (!tables.some((table) => table.name === 'kysely_migration')) return []
  const rows = await (db as Kysely<unknown> as Kysely<{ kysely_migration: { name: string } }>)
    .selectFrom('kysely_migration')
    .select('name')
    .execute()
  return rows.map(({ name }) => name)
}

async function refuseNewer(db: BzzzDatabase, known: readonly string[]): Promise<void> {
  const applied = await appliedMigrations(db)
  const unknown = applied.find((name) => !known.includes(name))
  if (unknown) {
    throw new DatabaseNewerError(
      `The database was migrated by a newer release (${unknown}). Start that release.`,
    )
  }
}
