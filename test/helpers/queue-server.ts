import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import pg from 'pg'

import { EmbeddedPostgres } from '../../cli/up/postgres/embedded-postgres.ts'
import { migrateDatabase, openDatabase } from '../../shared/db/database.ts'
import { createSilentLogger } from '../../shared/log/log.ts'
import { migrateQueue } from '../../shared/queue/postgres-backend.ts'

/** A PostgreSQL of a test, with the tables of the queue. */
export interface QueueServer {
  url: string
  /** The server ends; its data stays. */
  pause(): Promise<void>
  resume(): Promise<void>
  stop(): Promise<void>
}

/** The embedded server in a folder of its own, on a port that stays the same over a pause. */
export async function startQueueServer(): Promise<QueueServer> {
  const folder = await mkdtemp(join(tmpdir(), 'bzzz-queue-'))
  const create = (initialised: boolean) =>
    new EmbeddedPostgres(
      { log: createSilentLogger() },
      {
        folder: join(folder, 'postgres'),
        logFile: join(folder, 'postgres.log'),
        initialised,
        onInitialised: async () => undefined,
      },
    )
  let server = create(false)
  const url = await server.start()
  await migrate(url)
  return {
    url,
    pause: () => server.stop(),
    resume: async () => {
      server = create(true)
      const again = await server.start()
      if (again !== url) throw new Error('The server came back at another address.')
    },
    stop: async () => {
      await server.stop()
      // Whoever wrote last of the server's processes may still be at it for a moment.
      await rm(folder, { recursive: true, force: true, maxRetries: 10 })
    },
  }
}

/** A database of its own on a server that somebody else runs. */
export async function createQueueDatabase(
  serverURL: string,
): Promise<{ url: string; drop(): Promise<void> }> {
  const name = `queue_${process.pid}_${Date.now()}`
  const server = new pg.Client({ connectionString: serverURL })
  await server.connect()
  await server.query(`create database ${name}`)
  const url = Object.assign(new URL(serverURL), { pathname: `/${name}` }).href
  await migrate(url)
  return {
    url,
    drop: async () => {
      await server.query(`drop database ${name} with (force)`)
      await server.end()
    },
  }
}

async function migrate(url: string): Promise<void> {
  await migrateQueue(url)
  const database = openDatabase(url, { log: createSilentLogger() })
  await migrateDatabase(database.db)
  await database.close()
}
