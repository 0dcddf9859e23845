import { z } from 'zod'

import { isHash } from '../../shared/blob/hash.ts'
import { ProtocolViolationError } from '../../shared/errors.ts'
import { WHICH_HASHES_MAX } from './constants.ts'

/** Questions about copies. The bytes travel by the transfer protocols. */
export const REPLICATION_PROTOCOL = '/bzzz/replication/1.0.0'

const hash = z.string().refine(isHash)
const peerId = z.string().min(1).max(128)

const requestSchema = z.discriminatedUnion('op', [
  /** Do you hold it? */
  z.strictObject({ op: z.literal('have'), hash }),
  /** Which of these do you hold? */
  z.strictObject({ op: z.literal('which'), hashes: z.array(hash).max(WHICH_HASHES_MAX) }),
  /** Hold it: pull it from me, and answer once it is durable. `heldFor`: stand in for that node. */
  z.strictObject({
    op: z.literal('hold'),
    hash,
    sizeBytes: z.int().min(0),
    heldFor: peerId.optional(),
  }),
  /** I am about to drop my copy: do you hold one, and will you keep it for a while? */
  z.strictObject({ op: z.literal('keep'), hash }),
])

const answerSchema = z.union([
  /** To `have`, `hold` and `keep`; null is no. */
  z.strictObject({ sizeBytes: z.int().min(0).nullable() }),
  /** To `which`, in the order of the question. */
  z.strictObject({ held: z.array(z.boolean()).max(WHICH_HASHES_MAX) }),
])

export type ReplicationRequest = z.infer<typeof requestSchema>
export type ReplicationAnswer = z.infer<typeof answerSchema>

function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array): T {
  try {
    return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
  } catch (error) {
    throw new ProtocolViolationError('The message does not follow the replication protocol.', {
      cause: error,
    })
  }
}

/** @throws ProtocolViolationError */
export function decodeRequest(bytes: Uint8Array): ReplicationRequest {
  return parse(requestSchema, bytes)
}

/** @throws ProtocolViolationError */
export function decodeAnswer(bytes: Uint8Array): ReplicationAnswer {
  return parse(answerSchema, bytes)
}

export function encodeMessage(message: ReplicationRequest | ReplicationAnswer): Uint8Array {
  return Buffer.from(JSON.stringify(message))
}
