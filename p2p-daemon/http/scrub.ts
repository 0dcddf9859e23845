import type { FastifyInstance } from 'fastify'

import type { ScrubPass } from '../scrub/scrub-progress.ts'
import type { Scrubber } from '../scrub/scrubber.ts'

export interface ScrubRoutesOptions {
  scrubber: Pick<Scrubber, 'ask' | 'cancel' | 'current'>
}

/** `POST GET DELETE /v1/scrub`: read everything again now, look how far it is, slow down again. */
export async function scrubRoutes(
  app: FastifyInstance,
  { scrubber }: ScrubRoutesOptions,
): Promise<void> {
  const scope = { config: { scope: 'node:manage' as const } }
  app.post('/v1/scrub', scope, async (_request, reply) => {
    reply.code(202)
    return toJSON(await scrubber.ask())
  })
  app.get('/v1/scrub', scope, async () => toJSON(scrubber.current()))
  app.delete('/v1/scrub', scope, async () => toJSON(scrubber.cancel()))
}

function toJSON(pass: Readonly<ScrubPass> | undefined) {
  if (!pass) return { state: 'idle', lastSuccessAt: null }
  const { startedMs, finishedMs, lastSuccessMs, ...rest } = pass
  return {
    ...rest,
    startedAt: time(startedMs),
    finishedAt: time(finishedMs),
    lastSuccessAt: time(lastSuccessMs),
  }
}

function time(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}
