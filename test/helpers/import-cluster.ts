import { join } from 'node:path'

import pg from 'pg'

import { runCli } from '../../cli/cli.ts'
import { MiB } from '../../shared/limits.ts'
import { createCommandHost } from './command-host.ts'
import { startJobCluster } from './job-cluster.ts'
import { startMemoryDaemon } from './memory-daemon.ts'
import { startQueueServer } from './queue-server.ts'

const FUNCTIONS = join(import.meta.dirname, '..', '..', 'functions')

/** A daemon, a gateway with the function that imports, a connector and their database. */
export interface ImportCluster {
  /** Runs `bzzz migrate v1 ...`. */
  migrate(...args: string[]): Promise<{ exitCode: number; out: string; err: string }>
  /** The same, cut off when the import is registered. */
  interrupt(...args: string[]): Promise<number>
  query(text: string, values?: unknown[]): Promise<Record<string, unknown>[]>
  /** Everything that imports brought, in an order of its own, without who brought it when. */
  contents(): Promise<Contents>
  /** Asks the function that resolves addresses. */
  resolve(path: string): Promise<Response>
  env: Record<string, string>
  daemonURL: string
  stop(): Promise<void>
}

export interface Contents {
  entries: Record<string, unknown>[]
  messages: Record<string, unknown>[]
  quarantine: Record<string, unknown>[]
}

export async function startImportCluster(): Promise<ImportCluster> {
  const server = await startQueueServer()
  const daemon = await startMemoryDaemon({ putBytesMax: 16 * MiB })
  const token = await daemon.tokens.create()
  const jobs = await startJobCluster(
    {
      'migrate-v1': {
        handler: join(FUNCTIONS, 'migrate-v1'),
        annotations: { topic: 'migrate-v1', 'bzzz.job.concurrency': '3' },
        environment: { BZZZ_ENDPOINT: daemon.url },
      },
      resolve: {
        handler: join(FUNCTIONS, 'resolve'),
        environment: { BZZZ_ENDPOINT: daemon.url },
      },
    },
    { BZZZ_TOKEN_KEYS_FILE: daemon.tokens.keysFile, BZZZ_TOKEN: token },
    server,
  )
  const env = { BZZZ_TOKEN: token, BZZZ_GATEWAY_URL: jobs.url, BZZZ_ENDPOINT: daemon.url }
  const pool = new pg.Pool({ connectionString: server.url, max: 2 })
  const query = async (text: string, values: unknown[] = []) =>
    (await pool.query(text, values)).rows as Record<string, unknown>[]
  return {
    ...{ env, query, daemonURL: daemon.url },
    resolve: (path) =>
      fetch(`${jobs.url}/function/resolve/${path}`, {
        headers: { authorization: `Bearer ${token}` },
      }),
    migrate: async (...args) => {
      const { host, stdout, stderr } = createCommandHost(env)
      const exitCode = await runCli(['migrate', 'v1', ...args], host)
      return { exitCode, out: stdout.text(), err: stderr.text() }
    },
    interrupt: async (...args) => {
      const { host, stop } = createCommandHost(env)
      const before = (await query('select id from v1_imports')).length
      const running = runCli(['migrate', 'v1', ...args], host)
      while ((await query('select id from v1_imports')).length === before) await tick()
      stop()
      return running
    },
    contents: () => importedContents(query),
    stop: async () => {
      await pool.end()
      await jobs.stop()
      await daemon.close()
      await server.stop()
    },
  }
}

type Query = (text: string) => Promise<Record<string, unknown>[]>

/** What does not depend on when it was done, nor on what happened meanwhile. */
export async function importedContents(query: Query): Promise<Contents> {
  return {
    entries: await query(
      `select author, position, hash, blob, type, written_at, ordered_at, thread, message_id, parent_id
       from v1_entries order by author, position, hash`,
    ),
    messages: await query(
      `select address, thread_messages.seq, hash, body
       from thread_messages join threads on threads.id = thread_id
       order by address, thread_messages.seq, hash`,
    ),
    quarantine: await query(
      'select file_offset, position, records, reason, blob from v1_quarantine order by 1, 2, 5',
    ),
  }
}

function tick(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5))
}
