import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'

import { BATCH_BYTES_MAX, decodeBatch } from '../../shared/blob/batch.ts'
import { BodyTooLargeError, OverloadedError } from '../../shared/errors.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { checkBodySize, receiveBody } from '../../shared/http/body.ts'
import { parseWith } from '../../shared/http/parse.ts'
import type { Quotas } from '../lifetime/quotas.ts'
import type { Retention } from '../lifetime/retention.ts'
import type { ReplicatedPut, ReplicatedStore } from '../replication/replicated-store.ts'
import { ACK_QUERY, checkQuota } from './blobs.ts'
import { BATCHES_BLOBS_MAX, BATCHES_BYTES_MAX, BATCHES_RETRY_SECONDS } from './constants.ts'

export interface BlobBatchRoutesOptions {
  blobs: Pick<ReplicatedStore, 'put'>
  retention: Pick<Retention, 'note'>
  quotas: Pick<Quotas, 'check'>
}

const batchQuery = z.object(ACK_QUERY)

/**
 * `POST /v1/blobs/batch`: many small blobs that share the syncs of the disk. Each is put as by
 * itself, with the same `ack`; when one of them fails, so does the request, and what was stored
 * stays: the same batch may be sent again.
 */
export async function blobBatchRoutes(
  app: FastifyInstance,
  { blobs, retention, quotas }: BlobBatchRoutesOptions,
): Promise<void> {
  let bytes = 0
  let count = 0
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))

  app.post('/v1/blobs/batch', { config: { scope: 'blob:write' } }, async (request, reply) => {
    const { ack } = parseWith(batchQuery, request.query)
    checkBodySize(request, BATCH_BYTES_MAX)
    checkQuota(request, quotas, undefined)
    const signal = abandonedSignal(reply)
    const options = { signal, ...(ack && { ack }) }
    // A body that does not say how long it is may be as long as it may.
    const length = Number(request.headers['content-length'] ?? BATCH_BYTES_MAX)
    if (bytes + length > BATCHES_BYTES_MAX) throw tooMany()
    bytes += length
    try {
      const items = decodeBatch(await received(request))
      if (count + items.length > BATCHES_BLOBS_MAX) throw tooMany()
      count += items.length
      // All are waited for, also when one has failed: their memory is that of the body.
      const puts = await Promise.allSettled(items.map((item) => blobs.put(item, options)))
      count -= items.length
      const results = puts.map(valueOf)
      for (const result of results) retention.note(result)
      return { items: results.map(toItem) }
    } finally {
      bytes -= length
    }
  })
}

function tooMany(): OverloadedError {
  return new OverloadedError('Too many batches are being stored.', BATCHES_RETRY_SECONDS)
}

function valueOf(put: PromiseSettledResult<ReplicatedPut>): ReplicatedPut {
  if (put.status === 'rejected') throw put.reason
  return put.value
}

function toItem({ hash, sizeBytes, existed, replicas, underReplicated }: ReplicatedPut) {
  return { hash, size: sizeBytes, existed, replicas: replicas.length, underReplicated }
}

async function received(request: FastifyRequest): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of receiveBody(request)) {
    length += chunk.byteLength
    if (length > BATCH_BYTES_MAX) {
      throw new BodyTooLargeError(`The batch is larger than ${BATCH_BYTES_MAX} bytes.`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
