import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import {
  BATCH_BLOB_BYTES_MAX,
  BATCH_BLOBS_MAX,
  BATCH_BYTES_MAX,
  BLOB_BATCH_MEDIA_TYPE,
  encodeBatch,
} from '../../shared/blob/batch.ts'
import { isHash } from '../../shared/blob/hash.ts'
import { BodyTooLargeError } from '../../shared/errors.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { concurrently } from '../../shared/thread/concurrently.ts'
import { Semaphore } from '../replication/semaphore.ts'
import type { ReplicatedStore } from '../replication/replicated-store.ts'
import {
  BATCH_READS_AT_ONCE_MAX,
  BATCH_READS_WAITING_MAX,
  BATCH_BLOBS_READ_AT_ONCE_MAX,
} from './constants.ts'

export interface BlobBatchReadRoutesOptions {
  blobs: Pick<ReplicatedStore, 'get'>
  selfId: string
}

const body = z.strictObject({
  hashes: z.array(z.string().refine(isHash, 'not a BLAKE3 hash')).min(1).max(BATCH_BLOBS_MAX),
})

/**
 * `POST /v1/blobs/batch/read`: many small blobs in one answer, in the order of their hashes and in
 * the form of a batch that is put. When one of them is nowhere there is no answer.
 */
export async function blobBatchReadRoutes(
  app: FastifyInstance,
  { blobs, selfId }: BlobBatchReadRoutesOptions,
): Promise<void> {
  const reads = new Semaphore({
    running: BATCH_READS_AT_ONCE_MAX,
    waiting: BATCH_READS_WAITING_MAX,
  })
  const config = { scope: 'blob:read' as const, audit: false as const }
  app.post('/v1/blobs/batch/read', { config }, async (request, reply) => {
    const { hashes } = parseWith(body, request.body)
    const signal = abandonedSignal(reply)
    const answer = await reads.run(async () => {
      let bytes = 0
      return encodeBatch(
        await concurrently(hashes, BATCH_BLOBS_READ_AT_ONCE_MAX, async (hash) => {
          const blob = await blobs.get(hash, { signal })
          bytes += blob.sizeBytes
          if (blob.sizeBytes > BATCH_BLOB_BYTES_MAX || bytes > BATCH_BYTES_MAX) {
            throw new BodyTooLargeError('The blobs are too large for one answer: ask for fewer.')
          }
          return whole(blob.body)
        }),
      )
    }, signal)
    return reply.type(BLOB_BATCH_MEDIA_TYPE).header('bzzz-served-by', selfId).send(answer)
  })
}

/** A small blob is one piece nearly always. */
async function whole(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  for await (const piece of body) pieces.push(piece)
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)
}
