import { z } from 'zod'

import { hashBytes, isHash } from '../blob/hash.ts'
import { InvalidMessageError } from '../errors.ts'
import { ADDRESS_CHARS_MAX } from '../limits.ts'
import { APPEND_MESSAGES_MAX, HEAD_BYTES_MAX, PARENTS_MAX, TITLE_CHARS_MAX } from './constants.ts'
import {
  authorSchema,
  decodeCanonical,
  isSortedSet,
  isThreadName,
  keySchema,
  timeSchema,
} from './message.ts'

/** The media type of the records of a thread: by it a thread is known from other addresses. */
export const THREAD_MEDIA_TYPE = 'application/vnd.bzzz.thread+json'

/** Where a fork left the thread it comes from. */
export interface ForkPoint {
  thread: string
  /** The messages that the first message of the fork follows. */
  messages: string[]
  /** The highest seq among them. */
  seq: number
}

/**
 * What a version of a thread's address names: where the thread ends, and what this version added.
 * All versions together list all messages, so none has to be looked for, and each is a root.
 */
export interface ThreadHead {
  thread: string
  title?: string
  createdBy: string
  createdAt: string
  /** Idempotency key of the creation. */
  key?: string
  from?: ForkPoint
  /** Messages that no other one follows, in their order. */
  ends: string[]
  /** The highest seq; that of the fork point where there is no message yet. */
  seq: number
  /** Messages of this thread, those before its fork not counted. */
  count: number
  /** Messages that this version added, parents first. */
  added: string[]
  /** Blobs with contents of those. */
  contents: string[]
}

const hash = z.string().refine(isHash)
const thread = z.string().max(ADDRESS_CHARS_MAX).refine(isThreadName)
const ends = z.array(hash).max(PARENTS_MAX).refine(isSortedSet)

export const titleSchema = z
  .string()
  .min(1)
  .max(TITLE_CHARS_MAX)
  .refine((value) => value.isWellFormed() && !value.includes('\0'), 'no plain text')

const headSchema = z.strictObject({
  thread,
  title: titleSchema.exactOptional(),
  createdBy: authorSchema,
  createdAt: timeSchema,
  key: keySchema.exactOptional(),
  from: z.strictObject({ thread, messages: ends, seq: z.int().min(0) }).exactOptional(),
  ends,
  seq: z.int().min(0),
  count: z.int().min(0),
  added: z.array(hash).max(APPEND_MESSAGES_MAX),
  contents: z.array(hash).max(APPEND_MESSAGES_MAX),
})

function inOrder(head: ThreadHead): ThreadHead {
  const { title, createdBy, createdAt, key, from, seq, count, added, contents } = head
  return {
    thread: head.thread,
    ...(title !== undefined && { title }),
    ...{ createdBy, createdAt },
    ...(key !== undefined && { key }),
    ...(from !== undefined && {
      from: { thread: from.thread, messages: from.messages, seq: from.seq },
    }),
    ...{ ends: head.ends, seq, count, added, contents },
  }
}

export function encodeHead(head: ThreadHead): Buffer {
  return Buffer.from(JSON.stringify(inOrder(head)))
}

export function headHash(head: ThreadHead): string {
  return hashBytes(encodeHead(head))
}

/** @throws InvalidMessageError */
export function decodeHead(bytes: Uint8Array): ThreadHead {
  const head = decodeCanonical(bytes, headSchema, HEAD_BYTES_MAX, 'head of a thread')
  if (!encodeHead(head).equals(bytes)) {
    throw new InvalidMessageError('The head of a thread is not in its canonical encoding.')
  }
  return head
}
