import { z } from 'zod'

import { isHash } from '../../shared/blob/hash.ts'
import { ADDRESS_LABEL_CHARS_MAX } from '../../shared/limits.ts'
import { USAGE_ROWS_PER_MESSAGE_MAX } from './constants.ts'

/** One request, one answer, both JSON. */
export const QUOTA_PROTOCOL = '/bzzz/quotas/1.0.0'

const project = z.string().min(1).max(ADDRESS_LABEL_CHARS_MAX)
const hash = z.string().refine(isHash)
const sizeBytes = z.int().min(0)
const epoch = z.string().max(64)
const sequence = z.int().min(0)

export const quotaRequestSchema = z.discriminatedUnion('op', [
  /** Which contents did you learn of since then? Another epoch starts at 0. */
  z.strictObject({ op: z.literal('since'), epoch, sequence }),
  /** To the node that keeps the account of the project: may this content be added? */
  z.strictObject({ op: z.literal('reserve'), project, hash, sizeBytes }),
  /** The write that was granted did not happen. */
  z.strictObject({ op: z.literal('release'), project, hash }),
])

export const usageAnswerSchema = z.strictObject({
  rows: z.array(z.strictObject({ project, hash, sizeBytes })).max(USAGE_ROWS_PER_MESSAGE_MAX),
  epoch,
  sequence,
})

/** `refused` says how full the project is; null: granted. */
export const grantAnswerSchema = z.strictObject({
  refused: z.strictObject({ used: sizeBytes, limit: sizeBytes }).nullable(),
})

export type QuotaRequest = z.infer<typeof quotaRequestSchema>
export type UsageAnswer = z.infer<typeof usageAnswerSchema>
export type GrantAnswer = z.infer<typeof grantAnswerSchema>
