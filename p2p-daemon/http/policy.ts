import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { InvalidRequestError } from '../../shared/errors.ts'
import { abandonedSignal } from '../../shared/http/abandoned.ts'
import { parseWith } from '../../shared/http/parse.ts'
import { toRecordJSON } from '../../shared/record/record.ts'
import { OWNERSHIP_NAME } from '../ownership/constants.ts'
import type { OwnershipWatch } from '../ownership/ownership-watch.ts'
import type { Ownership } from '../ownership/ownership.ts'
import { encodePolicy, parsePolicy } from '../ownership/policy.ts'
import type { RecordService } from '../records/record-service.ts'
import type { BlobStore } from '../store/blob-store.ts'

export interface PolicyRoutesOptions {
  ownership: Ownership
  ownershipWatch: Pick<OwnershipWatch, 'refresh'>
  records: Pick<RecordService, 'write'>
  blobs: Pick<BlobStore, 'put'>
  selfId: string
}

const policyBody = z.strictObject({
  policy: z.looseObject({}),
  /** The version last seen; 0: there is none yet. */
  ifVersion: z.int().min(0),
})

/** `GET PUT /v1/policy/ownership`: which nodes may write which addresses. */
export async function policyRoutes(
  app: FastifyInstance,
  { ownership, ownershipWatch, records, blobs, selfId }: PolicyRoutesOptions,
): Promise<void> {
  const show = () => {
    const current = ownership.current()
    return {
      address: OWNERSHIP_NAME,
      record: current ? toRecordJSON(current.record) : null,
      policy: current?.policy ?? { rules: [] },
    }
  }

  app.get('/v1/policy/ownership', { config: { scope: 'mesh:read' } }, async (_request, reply) => {
    reply.header('bzzz-served-by', selfId)
    return show()
  })

  app.put('/v1/policy/ownership', { config: { scope: 'node:manage' } }, async (request, reply) => {
    const { policy, ifVersion } = parseWith(policyBody, request.body)
    const bytes = encodePolicy(parsePolicy(Buffer.from(JSON.stringify(policy))))
    const { editors } = parsePolicy(bytes)
    if (editors && !editors.includes(selfId)) {
      throw new InvalidRequestError(
        'The editors do not name the node that is asked, so it could not take this back.',
      )
    }
    const signal = abandonedSignal(reply)
    const { hash, sizeBytes } = await blobs.put(bytes, { signal })
    const content = { hash, sizeBytes, mediaType: 'application/json' }
    const written = await records.write(OWNERSHIP_NAME, content, { ifVersion }, signal)
    await ownershipWatch.refresh(signal)
    reply.code(written.created ? 201 : 200).header('bzzz-served-by', selfId)
    return show()
  })
}
