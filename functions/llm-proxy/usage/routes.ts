import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { requireProject } from '../../../shared/auth/plugin.ts'
import { list } from '../../../shared/config/env.ts'
import type { BzzzDatabase } from '../../../shared/db/database.ts'
import { DatabaseUnavailableError } from '../../../shared/errors.ts'
import { parseWith } from '../../../shared/http/parse.ts'
import { PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../../shared/limits.ts'
import { sumUsage, USAGE_KEYS } from '../../../shared/llm/usage-store.ts'
import { KEYS_MAX, OFFSET_MAX, SINCE_DEFAULT_MS } from './constants.ts'

export interface UsageRoutesOptions {
  /** Without one there is nothing to tell. */
  db: BzzzDatabase | undefined
}

/** `2026-11-23`, or with a time. */
const moment = z
  .union([z.iso.date(), z.iso.datetime({ offset: true })])
  .transform((text) => new Date(text))

const querySchema = z.object({
  by: list
    .default(['model'])
    .pipe(z.array(z.enum(USAGE_KEYS)).min(1).max(KEYS_MAX))
    .transform((keys) => [...new Set(keys)]),
  from: moment.optional(),
  to: moment.optional(),
  project: z.string().max(63).optional(),
  agent: z.string().max(63).optional(),
  model: z.string().max(255).optional(),
  limit: z.coerce.number().int().min(1).max(PAGE_SIZE_MAX).default(PAGE_SIZE_DEFAULT),
  after: z.coerce.number().int().min(0).max(OFFSET_MAX).default(0),
})

/** `GET /v1/usage?by=model,day&from=2026-11-01`: of the projects that the token covers. */
export async function usageRoutes(app: FastifyInstance, { db }: UsageRoutesOptions): Promise<void> {
  app.get('/v1/usage', { config: { scope: 'usage:read' } }, async (request) => {
    const { after: offset, ...query } = parseWith(querySchema, request.query)
    if (query.project !== undefined) requireProject(request, query.project)
    if (!db) throw new DatabaseUnavailableError('Usage is in PostgreSQL, and there is none here.')
    const from = query.from ?? new Date(Date.now() - SINCE_DEFAULT_MS)
    const projects = request.claims?.projects ?? []
    if (projects.length === 0) return { from, items: [], next: null }
    const page = await sumUsage(db, { ...query, from, projects, offset })
    return { from, ...page }
  })
}
