import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import type { Collection } from '../lifetime/collection.ts'
import type { Collector } from '../lifetime/collector.ts'

export interface GCRoutesOptions {
  collector: Pick<Collector, 'collect' | 'current' | 'cancel'>
}

const body = z.strictObject({
  /** Say what would be deleted and delete nothing. */
  dryRun: z.boolean().default(false),
  /** Answer at the end instead of at the start; a dry run always does. */
  wait: z.boolean().default(false),
})

/** `POST GET DELETE /v1/gc`: collect on this node, look how far it is, end it. */
export async function gcRoutes(
  app: FastifyInstance,
  { collector }: GCRoutesOptions,
): Promise<void> {
  const scope = { config: { scope: 'node:manage' as const } }

  app.post('/v1/gc', scope, async (request, reply) => {
    const { dryRun, wait } = parseWith(body, request.body)
    const { done } = collector.collect({ dryRun })
    if (!dryRun && !wait) {
      reply.code(202)
      return toJSON(collector.current())
    }
    // Nobody is left to read what a dry run finds; a real run goes on.
    if (dryRun) {
      abandonedSignal(reply).addEventListener('abort', () => void collector.cancel())
    }
    return toJSON(await done)
  })

  app.get('/v1/gc', scope, async () => toJSON(collector.current()))
  app.delete('/v1/gc', scope, async () => toJSON(await collector.cancel()))
}

function toJSON(collection: Readonly<Collection> | undefined) {
  if (!collection) return { state: 'idle' }
  const { startedMs, finishedMs, ...rest } = collection
  return {
    ...rest,
    startedAt: new Date(startedMs).toISOString(),
    finishedAt: finishedMs === null ? null : new Date(finishedMs).toISOString(),
  }
}
