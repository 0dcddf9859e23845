import { z } from 'zod'

import { isHash } from '../../shared/blob/hash.ts'
import { ProtocolViolationError } from '../../shared/errors.ts'

/** Questions about single blobs. The bytes travel by the transfer protocols. */
export const REPLICATION_PROTOCOL = '/bzzz/replication/1.0.0'

const hash = z.string().refine(isHash)

const requestSchema = z.discriminatedUnion('op', [
  /** Do you hold it? */
  z.strictObject({ op: z.literal('have'), hash }),
  /** Hold it: pull it from me, and answer once it is durable. */
  z.strictObject({ op: z.literal('hold'), hash, sizeBytes: z.int().min(0) }),
])

const answerSchema = z.strictObject({ sizeBytes: z.int().min(0).nullable() })

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
