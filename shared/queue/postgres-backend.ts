import {
  createPostgresBackend,
  DEFAULT_SCHEMA,
  FlowProducer,
  Queue,
  runMigrations,
  Worker,
  type PgPool,
} from 'bullmq'
import pg from 'pg'

import type { Logger } from '../log/log.ts'
import type { Backend, BullFlowProducer, BullProcessor, BullQueue, BullWorker } from './backend.ts'
import { OPERATION_TIMEOUT_MS, POOL_CONNECTIONS_MAX } from './constants.ts'

/** Jobs in PostgreSQL, in a schema of their own: what an embedded cluster uses. */
export class PostgresBackend implements Backend {
  readonly kind = 'postgres'
  readonly #pool: pg.Pool
  #prepared: Promise<void> | null = null

  /** `workers`: how many workers there will be at most; each keeps a connection to listen on. */
  constructor({ log }: { log: Logger }, { url, workers = 0 }: { url: string; workers?: number }) {
    this.#pool = new pg.Pool({
      connectionString: url,
      max: POOL_CONNECTIONS_MAX + workers,
      connectionTimeoutMillis: OPERATION_TIMEOUT_MS,
      statement_timeout: OPERATION_TIMEOUT_MS,
      application_name: 'bzzz-queue',
      // A listener that lost its server silently would sleep until somebody else wakes it.
      keepAlive: true,
      options: `-c search_path=${DEFAULT_SCHEMA}`,
    })
    // Every queue and worker listens to the errors of the one pool.
    this.#pool.setMaxListeners(0)
    // One that breaks while it is lent out and no statement runs tells nobody but itself, and what
    // nobody hears ends the process.
    this.#pool.on('connect', (client) => client.on('error', () => undefined))
    this.#pool.on('error', (error) => log.warn({ reason: error.message }, 'queue connection lost'))
  }

  /** The first time it looks whether the schema is there. */
  prepare(): Promise<void> {
    this.#prepared ??= this.#pool.query(`select 1 from ${DEFAULT_SCHEMA}.migration limit 1`).then(
      () => undefined,
      (error: unknown) => {
        this.#prepared = null
        throw error
      },
    )
    return this.#prepared
  }

  createQueue(name: string, options: object): BullQueue {
    const given = { ...options, connection: this.#connection() }
    return new Queue(name, given, createPostgresBackend) as unknown as BullQueue
  }

  createFlowProducer(): BullFlowProducer {
    const producer = new FlowProducer({ connection: this.#connection() }, createPostgresBackend)
    return producer as unknown as BullFlowProducer
  }

  createWorker(name: string, process: BullProcessor, options: object): BullWorker {
    const given = { ...options, connection: this.#connection() }
    return new Worker(name, process, given, createPostgresBackend) as unknown as BullWorker
  }

  close(): Promise<void> {
    return this.#pool.end()
  }

  /** BullMQ describes a pool by the part of it that it uses. */
  #connection(): PgPool {
    return this.#pool as unknown as PgPool
  }
}

/** Makes or updates the tables of the queue, once however many processes ask at the same time. */
export async function migrateQueue(url: string): Promise<void> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: OPERATION_TIMEOUT_MS,
    options: `-c search_path=${DEFAULT_SCHEMA}`,
  })
  client.on('error', () => undefined)
  await client.connect()
  try {
    await runMigrations(client)
  } finally {
    await client.end()
  }
}
