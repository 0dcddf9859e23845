import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { isHash } from '../../shared/blob/hash.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { PAGE_SIZE_MAX } from '../../shared/limits.ts'
import type { Retention } from '../lifetime/retention.ts'

export interface RetainRoutesOptions {
  retention: Pick<Retention, 'retain'>
}

const body = z.strictObject({
  hashes: z.array(z.string().refine(isHash, 'not a BLAKE3 hash')).min(1).max(PAGE_SIZE_MAX),
})

/**
 * `POST /v1/blobs/retain`: as a put of blobs that are there already, for whoever is about to name
 * them. Answers their sizes in order, null where nobody who answers has one.
 */
export async function retainRoutes(
  app: FastifyInstance,
  { retention }: RetainRoutesOptions,
): Promise<void> {
  app.post('/v1/blobs/retain', { config: { scope: 'blob:write' } }, async (request, reply) => {
    const { hashes } = parseWith(body, request.body)
    const signal = abandonedSignal(reply)
    const sizes: (number | null)[] = []
    for (const hash of hashes) sizes.push((await retention.retain(hash, signal))?.sizeBytes ?? null)
    return { sizes }
  })
}
