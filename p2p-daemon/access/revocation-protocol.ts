import { z } from 'zod'

import { STATEMENT_CHARS_MAX } from '../../shared/auth/revocation.ts'
import { STATEMENTS_PER_MESSAGE_MAX } from './constants.ts'

/** One request, one answer, both JSON. */
export const REVOCATION_PROTOCOL = '/bzzz/revocations/1.0.0'

const statements = z.array(z.string().max(STATEMENT_CHARS_MAX)).max(STATEMENTS_PER_MESSAGE_MAX)
const tokenId = z.string().max(64)

export const revocationRequestSchema = z.discriminatedUnion('op', [
  /** Keep these, durably before the answer. */
  z.strictObject({ op: z.literal('keep'), statements }),
  /** Your statements in the order of the tokens' ids, behind this one; '' from the first. */
  z.strictObject({ op: z.literal('list'), after: tokenId }),
])

/** `next` is where the next question goes on, null at the end. */
export const revocationAnswerSchema = z.strictObject({ statements, next: tokenId.nullable() })

export type RevocationRequest = z.infer<typeof revocationRequestSchema>
export type RevocationAnswer = z.infer<typeof revocationAnswerSchema>
