import { z } from 'zod'

import { isHash } from '../../shared/blob/hash.ts'
import { checkLabel } from '../../shared/address/labels.ts'
import { InvalidAddressError } from '../../shared/errors.ts'
import { CHUNK_ENTRIES_MAX } from '../../shared/v1/constants.ts'
import { PEER_ID } from '../../shared/v1/chunk.ts'
import { REGISTER_ITEMS_MAX, STEP_THREADS_MAX } from './constants.ts'

/** Names of files are shown to people and stored; no system has longer ones. */
const PATH_CHARS_MAX = 4_096
const FILES_MAX = 10_000
const KEY_CHARS_MAX = 512

const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const blob = z.string().refine(isHash, 'not a BLAKE3 hash')
const author = z.string().regex(PEER_ID)
const file = z
  .string()
  .min(1)
  .max(PATH_CHARS_MAX)
  .refine((text) => !text.includes('\0'), 'a NUL character')
const host = z.string().refine(isLabel, 'no label')

/** A BLAKE3 hash of what is imported. */
export const importId = z.string().regex(/^[0-9a-f]{32}$/)

export const importSchema = z.strictObject({
  id: importId,
  files: z.array(file).max(FILES_MAX),
  hosts: z.record(author, host),
})

const chunkName = {
  log: z.int().min(0).max(FILES_MAX),
  author,
  genesis: sha256,
  chunk: z.int().min(0),
}

export const chunksSchema = z.strictObject({
  chunks: z
    .array(
      z.strictObject({
        ...chunkName,
        start: z.int().min(0),
        entries: z.int().min(1).max(CHUNK_ENTRIES_MAX),
        previous: z.union([z.literal(''), sha256]),
        head: sha256,
        blob,
      }),
    )
    .max(REGISTER_ITEMS_MAX),
})

export const quarantineSchema = z.strictObject({
  items: z
    .array(
      z.strictObject({
        file,
        offset: z.int().min(0),
        author: z.string().max(KEY_CHARS_MAX).nullable(),
        position: z.int().min(0),
        records: z.int().min(1).max(CHUNK_ENTRIES_MAX),
        reason: z.string().regex(/^[a-z0-9_]{1,64}$/),
        blob,
        sizeBytes: z.int().min(0),
      }),
    )
    .max(REGISTER_ITEMS_MAX),
})

export const chunkStepSchema = z.strictObject({ import: importId, ...chunkName })

export const threadStepSchema = z.strictObject({
  import: importId,
  threads: z.array(z.string().max(KEY_CHARS_MAX)).max(STEP_THREADS_MAX),
})

/** The parent of a flow is given the results of its children beside its own body, or instead. */
export const nextStepSchema = z.object({ import: importId })

export const entriesQuery = z.object({
  ...chunkName,
  log: z.coerce.number().int().min(0),
  chunk: z.coerce.number().int().min(0),
})

export const chunksQuery = z.object({
  after: z.coerce.number().int().min(0).default(0),
})

function isLabel(text: string): boolean {
  try {
    return checkLabel('agent', text) === text
  } catch (error) {
    if (error instanceof InvalidAddressError) return false
    throw error
  }
}
