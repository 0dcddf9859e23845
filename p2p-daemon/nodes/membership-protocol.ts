import { z } from 'zod'

import { ProtocolViolationError } from '../../shared/errors.ts'
import { ADMISSIONS_MAX, MEMBERS_MAX, REMOVALS_MAX } from './constants.ts'
import { admissionSchema, memberSchema, removalSchema, type ClusterMember } from './node-state.ts'

const count = z.int().min(0)

/** What a node says about the copies it keeps. */
const reportSchema = z.object({
  draining: z.boolean(),
  /** Draining, and every blob of it is where it belongs. */
  drained: z.boolean(),
  /** Blobs not looked at yet, and copies still to be made. */
  remaining: count,
  blobs: count,
  bytes: count,
  owed: count,
  underReplicated: count,
})

const requestSchema = z.discriminatedUnion('op', [
  z.strictObject({ op: z.literal('report') }),
  z.strictObject({ op: z.literal('drain'), drain: z.boolean() }),
  /** Strike these from your allow-list; those carried out before are left alone. */
  z.strictObject({
    op: z.literal('remove'),
    removals: z.array(removalSchema).min(1).max(REMOVALS_MAX),
  }),
  /** Let these in as well; those carried out before are left alone. */
  z.strictObject({
    op: z.literal('admit'),
    admissions: z.array(admissionSchema).min(1).max(ADMISSIONS_MAX),
  }),
  /** Who is in the cluster, for a node that knows only the one it asks. */
  z.strictObject({ op: z.literal('members') }),
  /** This node may have lost copies without knowing which: look whether it has yours. */
  z.strictObject({ op: z.literal('rescan') }),
])

const answerSchema = z.object({ report: reportSchema })
const membersSchema = z.object({ members: z.array(memberSchema).max(MEMBERS_MAX) })

export type NodeReport = z.infer<typeof reportSchema>
export type MembershipRequest = z.infer<typeof requestSchema>

function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array): T {
  try {
    return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
  } catch (error) {
    throw new ProtocolViolationError('The message does not follow the membership protocol.', {
      cause: error,
    })
  }
}

/** @throws ProtocolViolationError */
export function decodeRequest(bytes: Uint8Array): MembershipRequest {
  return parse(requestSchema, bytes)
}

/** @throws ProtocolViolationError */
export function decodeAnswer(bytes: Uint8Array): NodeReport {
  return parse(answerSchema, bytes).report
}

/** @throws ProtocolViolationError */
export function decodeMembers(bytes: Uint8Array): ClusterMember[] {
  return parse(membersSchema, bytes).members
}

export function encodeMembers(members: readonly ClusterMember[]): Uint8Array {
  return Buffer.from(JSON.stringify({ members: members.slice(0, MEMBERS_MAX) }))
}

export function encodeRequest(request: MembershipRequest): Uint8Array {
  return Buffer.from(JSON.stringify(request))
}

export function encodeAnswer(report: NodeReport): Uint8Array {
  return Buffer.from(JSON.stringify({ report }))
}
