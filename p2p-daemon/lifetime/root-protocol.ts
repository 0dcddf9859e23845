import { z } from 'zod'

import { isHash } from '../../shared/blob/hash.ts'
import { ROOTS_PER_PAGE_MAX, SOURCE_CURSOR_CHARS_MAX, SOURCES_MAX } from './constants.ts'

/** What a node must keep, asked for by one that wants to delete. JSON; hashes as base64. */
export const ROOT_PROTOCOL = '/bzzz/roots/1.0.0'

export const HASH_BYTES = 32

const name = z.string().min(1).max(64)
const cursor = z.string().max(SOURCE_CURSOR_CHARS_MAX)
const PAGE_CHARS_MAX = Math.ceil((ROOTS_PER_PAGE_MAX * HASH_BYTES) / 3) * 4

export const rootRequestSchema = z.discriminatedUnion('op', [
  /** Who belongs to the cluster, what reasons do you know, may anything be deleted? */
  z.strictObject({ op: z.literal('open') }),
  z.strictObject({ op: z.literal('page'), source: name, after: cursor }),
  /** Something is about to refer to this blob: do not take it for unreferenced. */
  z.strictObject({ op: z.literal('touch'), hash: z.string().refine(isHash) }),
])

export const openAnswerSchema = z.object({
  members: z.array(z.string().max(128)).max(1_024),
  sources: z.array(name).max(SOURCES_MAX),
  /** Who holds collecting, as one sentence; null when nobody does. */
  hold: z.string().max(2_048).nullable(),
})

export const pageAnswerSchema = z.object({
  hashes: z.base64().max(PAGE_CHARS_MAX),
  next: cursor.nullable(),
})

/** Null: it is not here. */
export const touchAnswerSchema = z.object({ sizeBytes: z.int().min(0).nullable() })

export type RootRequest = z.infer<typeof rootRequestSchema>
export type OpenAnswer = z.infer<typeof openAnswerSchema>
export type PageAnswer = z.infer<typeof pageAnswerSchema>
export type TouchAnswer = z.infer<typeof touchAnswerSchema>
