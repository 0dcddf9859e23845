import { z } from 'zod'

import { claimSchema } from './claim.ts'
import { CLAIMS_PER_MESSAGE_MAX } from './constants.ts'

/** One request, one answer, both JSON. */
export const PIN_PROTOCOL = '/bzzz/pins/1.0.0'

const claims = z.array(claimSchema).max(CLAIMS_PER_MESSAGE_MAX)
const epoch = z.string().max(64)
const sequence = z.int().min(0)

export const pinRequestSchema = z.discriminatedUnion('op', [
  /** Keep these, durably before the answer. */
  z.strictObject({ op: z.literal('keep'), claims }),
  /** What changed at yours since then? Another epoch starts at 0. */
  z.strictObject({ op: z.literal('since'), epoch, sequence }),
])

/** `sequence` is where the next question goes on; `more` says that there is more now. */
export const pinAnswerSchema = z.strictObject({ claims, epoch, sequence, more: z.boolean() })

export type PinRequest = z.infer<typeof pinRequestSchema>
export type PinAnswer = z.infer<typeof pinAnswerSchema>
