import type { FastifyInstance } from 'fastify'

import type { RecordAnnouncer } from '../records/record-announcer.ts'

export interface AnnounceRoutesOptions {
  announcer: Pick<RecordAnnouncer, 'announceAll'>
}

/** `POST /v1/announce`: put all records of this node into the DHT again, from now on. */
export async function announceRoutes(
  app: FastifyInstance,
  { announcer }: AnnounceRoutesOptions,
): Promise<void> {
  app.post('/v1/announce', { config: { scope: 'node:manage' } }, async (_request, reply) => {
    announcer.announceAll()
    reply.code(202)
    return { state: 'announcing' }
  })
}
