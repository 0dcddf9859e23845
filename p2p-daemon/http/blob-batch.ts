import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import type { Quotas } from '../lifetime/quotas.ts'
import type { ReplicatedPut } from '../replication/replicated-store.ts'
import { addressBatchRoute, type AddressBatchRouteOptions } from './address-batch.ts'
import { BatchIntake, type BatchIntakeComponents } from './batch-intake.ts'
import { ACK_QUERY, checkQuota } from './blobs.ts'

export interface BlobBatchRoutesOptions
  extends BatchIntakeComponents, Omit<AddressBatchRouteOptions, 'intake' | 'quotas'> {
  quotas: Pick<Quotas, 'check' | 'admit'>
}

const batchQuery = z.object(ACK_QUERY)

/**
 * `POST /v1/blobs/batch`: many small blobs that share the syncs of the disk. Each is put as by
 * itself, with the same `ack`; when one of them fails, so does the request, and what was stored
 * stays: the same batch may be sent again. `PUT /v1/addresses/batch` names the last of them, too.
 */
export async function blobBatchRoutes(
  app: FastifyInstance,
  options: BlobBatchRoutesOptions,
): Promise<void> {
  const intake = new BatchIntake(options)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  addressBatchRoute(app, { ...options, intake })

  app.post('/v1/blobs/batch', { config: { scope: 'blob:write' } }, async (request, reply) => {
    const { ack } = parseWith(batchQuery, request.query)
    checkQuota(request, options.quotas, undefined)
    const putOptions = { signal: abandonedSignal(reply), ...(ack && { ack }) }
    return intake.take(request, putOptions, async ({ stored }) => ({
      items: (await stored).map(toItem),
    }))
  })
}

function toItem({ hash, sizeBytes, existed, replicas, underReplicated }: ReplicatedPut) {
  return { hash, size: sizeBytes, existed, replicas: replicas.length, underReplicated }
}
