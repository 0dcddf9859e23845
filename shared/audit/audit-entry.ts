import { randomUUID } from 'node:crypto'

import { z } from 'zod'

import { hashBytes } from '../blob/hash.ts'

/** Longest text of one field; a row stays below 8 KiB whatever a caller sends. */
const TEXT_CHARS_MAX = 2048

/** What a database cannot store is taken out, or the row would hash differently when read. */
const text = z
  .string()
  .transform((given) => given.replaceAll('\0', '').slice(0, TEXT_CHARS_MAX).toWellFormed())

const entrySchema = z.object({
  id: z.uuid(),
  /** ISO, UTC, milliseconds. */
  at: z.iso.datetime({ precision: 3 }),
  component: text,
  /** Subject of the token; empty where there was no good one. */
  actor: text,
  tokenId: text,
  remote: text,
  /** What was asked for: `PUT /v1/blobs`, `token revoke`. */
  action: text,
  /** What it was asked of: a path, a token id. */
  resource: text,
  /** Refused for want of a right, or let through; the status tells what came of that. */
  outcome: z.enum(['allow', 'deny']),
  status: z.int(),
  requestId: text,
  /** BLAKE3 of what was given, which itself may be private; empty where it may be guessed. */
  argumentsHash: text,
})

export type AuditEntry = z.infer<typeof entrySchema>

/** What happened, before it has an id and a time. */
export type AuditEvent = Omit<AuditEntry, 'id' | 'at'>

export function createEntry(event: AuditEvent): AuditEntry {
  return entrySchema.parse({ ...event, id: randomUUID(), at: new Date().toISOString() })
}

/** One line of a spool file. @throws when it is not one, such as the torn last line of a crash */
export function parseEntry(line: string): AuditEntry {
  return entrySchema.parse(JSON.parse(line))
}

export function hashArguments(...given: readonly unknown[]): string {
  return hashBytes(Buffer.from(JSON.stringify(given)))
}
