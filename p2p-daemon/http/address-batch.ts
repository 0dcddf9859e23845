import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { recordName } from '../../shared/address/address.ts'
import { requireScope } from '../../shared/auth/plugin.ts'
import { hashBytes, isHash } from '../../shared/blob/hash.ts'
import { HashMismatchError } from '../../shared/errors.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { MEDIA_TYPE_CHARS_MAX } from '../../shared/limits.ts'
import type { Quotas } from '../lifetime/quotas.ts'
import type { RecordService } from '../records/record-service.ts'
import { answerWritten, writableAddress, writeAdmitted } from './addresses.ts'
import type { BatchIntake } from './batch-intake.ts'
import { ACK_QUERY, checkQuota } from './blobs.ts'

export interface AddressBatchRouteOptions {
  intake: BatchIntake
  records: Pick<RecordService, 'write'>
  quotas: Pick<Quotas, 'check' | 'admit'>
  selfId: string
}

const writeQuery = z.object({
  ...ACK_QUERY,
  mediaType: z.string().min(1).max(MEDIA_TYPE_CHARS_MAX),
  /** Of the last blob: what arrived otherwise is not named. */
  hash: z.string().refine(isHash, 'not a BLAKE3 hash'),
  ifHash: z.string().refine(isHash, 'not a BLAKE3 hash').optional(),
  ifVersion: z.coerce.number().int().min(0).optional(),
})

/**
 * `PUT /v1/addresses/batch`: stores a batch as `POST /v1/blobs/batch` does, and lets the address
 * name its last blob. One request in place of two, and the record is on its way to the disk with
 * the blobs; it stands only when these are where `ack` asks for. A crash before that leaves blobs
 * that nothing names, as a batch does whose record never came.
 */
export function addressBatchRoute(
  app: FastifyInstance,
  { intake, records, quotas, selfId }: AddressBatchRouteOptions,
): void {
  const config = { config: { scope: 'address:write' as const } }
  app.put('/v1/addresses/batch', config, async (request, reply) => {
    requireScope(request, 'blob:write')
    const address = writableAddress(request)
    const { ack, hash, mediaType, ifHash, ifVersion } = parseWith(writeQuery, request.query)
    checkQuota(request, quotas, undefined)
    const condition = {
      ...(ifHash !== undefined && { ifHash }),
      ...(ifVersion !== undefined && { ifVersion }),
    }
    const signal = abandonedSignal(reply)
    const written = await intake.take(
      request,
      { signal, ...(ack && { ack }) },
      async ({ items, stored }) => {
        const head = items.at(-1)!
        if (hashBytes(head) !== hash) {
          throw new HashMismatchError(`The last blob of the batch is not ${hash}.`)
        }
        const content = { hash, sizeBytes: head.byteLength, mediaType }
        return writeAdmitted({ quotas, project: address.project, content, signal }, () =>
          records.write(recordName(address), { ...content, stored }, condition, signal),
        )
      },
    )
    return answerWritten(reply, written, selfId)
  })
}
