import { z } from 'zod'

import { isHash } from '../../shared/blob/hash.ts'
import { ProtocolViolationError } from '../../shared/errors.ts'
import { ADDRESS_CHARS_MAX } from '../../shared/limits.ts'
import {
  decodeRecord,
  encodeRecord,
  RECORD_BYTES_MAX,
  verifyRecord,
  type AddressRecord,
} from '../../shared/record/record.ts'
import { TIPS_PER_FRAME_MAX, RECORDS_PER_FRAME_MAX } from './constants.ts'

/** One request, one answer, both JSON. Records travel as their canonical text. */
export const RECORD_PROTOCOL = '/bzzz/records/1.0.0'

const name = z.string().min(1).max(ADDRESS_CHARS_MAX)
const version = z.int().min(1)
const tip = z.strictObject({ name, version, hash: z.string().refine(isHash) })
const recordText = z.string().max(RECORD_BYTES_MAX)

const requestSchema = z.discriminatedUnion('op', [
  /** The coordinator of the address decides whether the record follows the head. */
  z.strictObject({ op: z.literal('commit'), record: recordText }),
  /** Keep this record; the coordinator has decided. */
  z.strictObject({ op: z.literal('store'), record: recordText }),
  z.strictObject({ op: z.literal('head'), name }),
  z.strictObject({ op: z.literal('version'), name, version }),
  z.strictObject({ op: z.literal('at'), name, timestampMs: z.int().min(0) }),
  z.strictObject({ op: z.literal('history'), name, before: version, limit: version }),
  z.strictObject({ op: z.literal('record'), hash: z.string().refine(isHash) }),
  /** The ends of the chains of one address. */
  z.strictObject({ op: z.literal('ends'), name }),
  /** Heads of addresses by their parts, in the order of names. */
  z.strictObject({
    op: z.literal('search'),
    pattern: z.string().max(ADDRESS_CHARS_MAX),
    projects: z.array(z.string().max(128)).max(64),
    forked: z.boolean(),
    after: z.string().max(ADDRESS_CHARS_MAX),
    limit: version,
  }),
  /** The ends of all chains, a page at a time. */
  z.strictObject({ op: z.literal('tips'), after: tip.optional() }),
])

const answerSchema = z.strictObject({
  /** `conflict` answers a commit that lost; `records` then holds the head that stands. */
  outcome: z.enum(['ok', 'conflict', 'quorum']),
  records: z.array(recordText).max(RECORDS_PER_FRAME_MAX).optional(),
  forks: z.int().min(0).optional(),
  tips: z.array(tip).max(TIPS_PER_FRAME_MAX).optional(),
  holders: z.array(z.string().max(128)).max(64).optional(),
})

export type RecordRequest = z.infer<typeof requestSchema>
export type RecordAnswer = z.infer<typeof answerSchema>

function parse<T>(schema: z.ZodType<T>, bytes: Uint8Array): T {
  try {
    return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
  } catch (error) {
    throw new ProtocolViolationError('The message does not follow the record protocol.', {
      cause: error,
    })
  }
}

/** @throws ProtocolViolationError */
export function decodeRequest(bytes: Uint8Array): RecordRequest {
  return parse(requestSchema, bytes)
}

/** @throws ProtocolViolationError */
export function decodeAnswer(bytes: Uint8Array): RecordAnswer {
  return parse(answerSchema, bytes)
}

export function encodeMessage(message: RecordRequest | RecordAnswer): Uint8Array {
  return Buffer.from(JSON.stringify(message))
}

export function recordToText(record: AddressRecord): string {
  return encodeRecord(record).toString('utf8')
}

/** A record from a peer is believed for its signature, never for its sender. */
export function recordFromText(text: string): AddressRecord {
  const record = decodeRecord(Buffer.from(text, 'utf8'))
  verifyRecord(record)
  return record
}
