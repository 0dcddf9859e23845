import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { projectMatches } from '../../shared/address/project-pattern.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { ADDRESS_LABEL_CHARS_MAX, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../shared/limits.ts'
import type { Quotas } from '../lifetime/quotas.ts'

export interface QuotaRoutesOptions {
  quotas: Quotas
}

const pageQuery = z.object({
  after: z.string().max(ADDRESS_LABEL_CHARS_MAX).default(''),
  limit: z.coerce.number().int().min(1).max(PAGE_SIZE_MAX).default(PAGE_SIZE_DEFAULT),
})

/** `GET /v1/quotas`: what projects keep and may keep, of those that the token covers. */
export async function quotaRoutes(
  app: FastifyInstance,
  { quotas }: QuotaRoutesOptions,
): Promise<void> {
  app.get('/v1/quotas', { config: { scope: 'address:read' } }, async (request) => {
    const { after, limit } = parseWith(pageQuery, request.query)
    const patterns = request.claims?.projects ?? []
    const page = quotas.page(after, limit)
    const covered = page.filter(({ project }) =>
      patterns.some((pattern) => projectMatches(pattern, project)),
    )
    return { projects: covered, next: page.length === limit ? page.at(-1)!.project : null }
  })
}
