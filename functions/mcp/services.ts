import { parseAddress } from '../../shared/address/address.ts'
import { projectMatches } from '../../shared/address/project-pattern.ts'
import type { TokenClaims } from '../../shared/auth/token.ts'
import type { CallOptions, DaemonClient } from '../../shared/daemon/daemon-client.ts'
import type { BzzzDatabase } from '../../shared/db/database.ts'
import {
  DatabaseUnavailableError,
  InvalidAddressError,
  QueueUnavailableError,
  ScopeMissingError,
} from '../../shared/errors.ts'
import type { JobQueue } from '../../shared/queue/job-queue.ts'
import { requireThreadWriter } from '../../shared/thread/access.ts'
import type { AuthorOptions, Threads } from '../../shared/thread/threads.ts'

/** What tools, resources and prompts work with. */
export interface Services {
  daemon: DaemonClient
  /** Null where the function was given no server for it. */
  queue: JobQueue | null
  db: BzzzDatabase | null
  threads: Threads | null
}

/** Who calls, by which token. Made anew for each request and never kept. */
export interface Caller {
  claims: TokenClaims
  token: string
  remote: string
  requestId: string
}

/** One call of a tool, read of a resource or use of a prompt. */
export interface Call {
  caller: Caller
  services: Services
  /** Aborts when the caller leaves. */
  signal: AbortSignal
  traceparent: string | undefined
  /** For `mesh_whoami`: names that the caller sees, and how often each may be called. */
  visibleTools: readonly string[]
  callsPerMinuteMax: number
  /** Told to a client that asked for it; lost otherwise. */
  progress(done: number, total: number, message: string): void
}

/** The daemon checks the caller's own token again. */
export function callOptions({ caller, signal, traceparent }: Call): CallOptions {
  return { token: caller.token, signal, traceparent }
}

export function requireQueue({ services }: Call): JobQueue {
  if (services.queue) return services.queue
  throw new QueueUnavailableError('This server has no queue: REDIS_URL and DATABASE_URL say.')
}

export function requireDatabase({ services }: Call): BzzzDatabase {
  if (services.db) return services.db
  throw new DatabaseUnavailableError('This server has no database: DATABASE_URL says.')
}

export function requireThreads({ services }: Call): Threads {
  if (services.threads) return services.threads
  throw new DatabaseUnavailableError('Threads need a database, and this server has none.')
}

/**
 * For writing threads: what is written is under the name of the caller's token.
 * @throws ScopeMissingError
 */
export function authorOptions(call: Call): AuthorOptions {
  requireThreadWriter(call.caller.claims)
  return { ...callOptions(call), author: call.caller.claims.subject }
}

/**
 * For what is answered from the database, which knows no token: the daemon is not asked there.
 * @throws InvalidAddressError, ScopeMissingError unless the caller's token covers the project
 */
export function requireProjectOf({ caller }: Call, address: string): void {
  const parsed = parseAddress(address)
  if (parsed.kind !== 'semantic') throw new InvalidAddressError('Content belongs to no project.')
  const { project } = parsed
  if (caller.claims.projects.some((pattern) => projectMatches(pattern, project))) return
  throw new ScopeMissingError(`The token does not cover the project ${project}.`)
}
