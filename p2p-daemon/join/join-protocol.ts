import { z } from 'zod'

import { ProtocolViolationError } from '../../shared/errors.ts'
import { ADDRESS_CHARS_MAX, ADDRESSES_PER_PEER_MAX } from '../mesh/constants.ts'
import { MEMBERS_MAX } from '../nodes/constants.ts'
import { memberSchema } from '../nodes/node-state.ts'

const addresses = z.array(z.string().max(ADDRESS_CHARS_MAX)).max(ADDRESSES_PER_PEER_MAX)

const requestSchema = z.object({
  id: z.uuid(),
  secret: z.string().max(64),
  /** What the joining node calls itself. */
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
  /** Where it can be dialled. */
  addresses,
})

/** Everybody, the inviting node first. Where they are it tells once the two are connected. */
const answerSchema = z.object({ members: z.array(memberSchema).min(1).max(MEMBERS_MAX) })

export type JoinRequest = z.output<typeof requestSchema>
export type JoinAnswer = z.output<typeof answerSchema>

export function encodeMessage(message: JoinRequest | JoinAnswer): Uint8Array {
  return Buffer.from(JSON.stringify(message))
}

/** @throws ProtocolViolationError */
export function decodeJoinRequest(bytes: Uint8Array): JoinRequest {
  return parse(requestSchema, bytes)
}

/** @throws ProtocolViolationError */
export function decodeJoinAnswer(bytes: Uint8Array): JoinAnswer {
  return parse(answerSchema, bytes)
}

function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array): T {
  try {
    return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
  } catch (error) {
    throw new ProtocolViolationError('The message does not follow the join protocol.', {
      cause: error,
    })
  }
}
