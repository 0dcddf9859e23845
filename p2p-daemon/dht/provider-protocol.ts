import { z } from 'zod'

import { PROVIDER_KEYS_PER_MESSAGE_MAX } from './constants.ts'
import { isProviderKey, type ProviderKey } from './keys.ts'

/** One request, one answer, both JSON. */
export const PROVIDER_PROTOCOL = '/bzzz/providers/1.0.0'

const keys = z
  .array(z.string().refine((text): text is ProviderKey => isProviderKey(text)))
  .max(PROVIDER_KEYS_PER_MESSAGE_MAX)

export const providerRequestSchema = z.discriminatedUnion('op', [
  /** Which of these do you provide yourself? */
  z.strictObject({ op: z.literal('have'), keys }),
  /** I no longer provide these: the table of kad-dht has no message for that. */
  z.strictObject({ op: z.literal('withdraw'), keys }),
])

/** Those of `have` that the asked node provides; none for `withdraw`. */
export const providerAnswerSchema = z.strictObject({ keys })

export type ProviderRequest = z.infer<typeof providerRequestSchema>
export type ProviderAnswer = z.infer<typeof providerAnswerSchema>
