import { readFile } from 'node:fs/promises'

import { openDatabase, type OpenDatabase } from '../../shared/db/database.ts'
import { DatabaseUnavailableError } from '../../shared/errors.ts'
import { createSilentLogger } from '../../shared/log/log.ts'
import { readCliConfig } from '../config.ts'
import type { CommandHost } from '../host.ts'
import type { DataLayout } from '../up/data-layout.ts'
import { embeddedDatabaseURL } from '../up/postgres/embedded-postgres.ts'
import { postgresLayoutOf } from '../up/postgres/initialise.ts'

/** A command makes one query after the other. */
const CONNECTIONS_MAX = 1

export type ClusterDatabase = OpenDatabase & { url: string }

/**
 * The database of the cluster: that of DATABASE_URL, or the embedded one of the data folder. No
 * connection is made yet. Null where neither is known.
 */
export async function findDatabase(
  host: CommandHost,
  layout: DataLayout,
): Promise<ClusterDatabase | null> {
  const url = readCliConfig(host.env).DATABASE_URL ?? (await embeddedURL(layout))
  if (url === null) return null
  const log = createSilentLogger()
  return { ...openDatabase(url, { log }, { connectionsMax: CONNECTIONS_MAX }), url }
}

/** Runs `use` with the database. @throws DatabaseUnavailableError where none is known */
export async function withDatabase<T>(
  host: CommandHost,
  layout: DataLayout,
  use: (database: ClusterDatabase) => Promise<T>,
): Promise<T> {
  const database = await findDatabase(host, layout)
  if (!database) {
    throw new DatabaseUnavailableError(
      'The database is not known: set DATABASE_URL, or name the data folder with --data.',
    )
  }
  try {
    return await use(database)
  } catch (error) {
    throw isUnreachable(error)
      ? new DatabaseUnavailableError(`PostgreSQL at ${database.description} does not answer.`, {
          cause: error,
        })
      : error
  } finally {
    await database.close()
  }
}

async function embeddedURL(layout: DataLayout): Promise<string | null> {
  const { password, port } = postgresLayoutOf(layout.postgres)
  try {
    const read = (file: string) => readFile(file, 'utf8')
    return embeddedDatabaseURL({ password: await read(password), port: Number(await read(port)) })
  } catch {
    return null
  }
}

/** What PostgreSQL itself says has a SQLSTATE; the rest is the way to it. */
function isUnreachable(error: unknown): boolean {
  if (!(error instanceof Error) || error.name.startsWith('Audit')) return false
  const code = 'code' in error ? String(error.code) : ''
  return /^E[A-Z]+$/.test(code) || /timeout|terminated/i.test(error.message)
}
