import { z } from 'zod'

import { isHash } from '../../shared/blob/hash.ts'
import { CLAIM_KEY_CHARS_MAX, CLAIM_TEXT_CHARS_MAX } from './constants.ts'

const moment = z.int().min(0)
const text = z.string().max(CLAIM_TEXT_CHARS_MAX)

/**
 * What somebody asked to be kept. A pin keeps one blob until it is taken back, a lease until it
 * expires, a hold keeps every blob of every node until it expires. Every node has all claims; of
 * two about the same thing the later one counts, by `updatedMs` and then by `peerId`.
 */
export const claimSchema = z
  .strictObject({
    kind: z.enum(['pin', 'lease', 'hold']),
    /** The hash of a pin, the id of a lease, the name of a hold. */
    key: z.string().min(1).max(CLAIM_KEY_CHARS_MAX),
    hash: z.string().refine(isHash).nullable(),
    subject: text,
    reason: text,
    createdMs: moment,
    expiresMs: moment.nullable(),
    updatedMs: moment,
    /** Who wrote it last. */
    peerId: z.string().max(128),
    /** Taken back. The row stays for a while so that no copy brings it to life again. */
    deleted: z.boolean(),
  })
  .refine((claim) => (claim.hash === null) === (claim.kind === 'hold'))
  .refine((claim) => (claim.expiresMs === null) === (claim.kind === 'pin'))
  .refine((claim) => claim.kind !== 'pin' || claim.key === claim.hash)

export type Claim = z.infer<typeof claimSchema>
export type ClaimKind = Claim['kind']

/** Whether `claim` replaces `known`. */
export function supersedes(claim: Claim, known: Claim): boolean {
  if (claim.updatedMs !== known.updatedMs) return claim.updatedMs > known.updatedMs
  return claim.peerId > known.peerId
}

export function isLive(claim: Claim, nowMs: number): boolean {
  return !claim.deleted && (claim.expiresMs === null || claim.expiresMs > nowMs)
}
