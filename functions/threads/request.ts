import type { FastifyRequest } from 'fastify'
import { z } from 'zod'

import { parseAddress } from '../../shared/address/address.ts'
import { requireProject } from '../../shared/auth/plugin.ts'
import { DatabaseUnavailableError, InvalidAddressError } from '../../shared/errors.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { ADDRESS_CHARS_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../shared/limits.ts'
import { requireThreadWriter } from '../../shared/thread/access.ts'
import { threadName, type AuthorOptions, type Threads } from '../../shared/thread/threads.ts'

export interface ThreadRoutesOptions {
  /** Null where there is no database. */
  threads: Threads | null
}

/** What a route needs of a token. */
export const READ = { config: { scope: 'thread:read' as const } }
export const WRITE = { config: { scope: 'thread:write' as const } }

/** Of a route that goes through a whole thread, which takes as long as it takes. */
export const READ_LONG = { config: { ...READ.config, execTimeoutMs: 0 } }

export const address = z.string().min(1).max(ADDRESS_CHARS_MAX)

const addressQuery = z.object({ address })

/** A cursor is a number and an address at most. */
const CURSOR_CHARS_MAX = ADDRESS_CHARS_MAX + 32

export const page = {
  after: z.string().max(CURSOR_CHARS_MAX).optional(),
  limit: z.coerce.number().int().min(1).max(PAGE_SIZE_MAX).default(PAGE_SIZE_DEFAULT),
}

/** The thread that `?address=` names, in a project that the token covers. */
export function threadOf(request: FastifyRequest): string {
  return covered(request, parseWith(addressQuery, request.query).address)
}

/** @throws ScopeMissingError, InvalidAddressError */
export function covered(request: FastifyRequest, given: string): string {
  const parsed = parseAddress(given)
  if (parsed.kind !== 'semantic') throw new InvalidAddressError('A thread has a name, no hash.')
  requireProject(request, parsed.project)
  return threadName(given)
}

export function required(threads: Threads | null): Threads {
  if (threads) return threads
  throw new DatabaseUnavailableError('This function has no database: set DATABASE_URL.')
}

/** Under whose name and rights it is done. */
export function authorOf(request: FastifyRequest): AuthorOptions {
  const { claims, token, abandoned } = request
  return { token: token ?? '', author: claims?.subject ?? '', signal: abandoned }
}

/** As that, for writing. @throws ScopeMissingError */
export function writerOf(request: FastifyRequest): AuthorOptions {
  requireThreadWriter(request.claims ?? { scopes: [] })
  return authorOf(request)
}

export function projectsOf(request: FastifyRequest): readonly string[] {
  return request.claims?.projects ?? []
}
