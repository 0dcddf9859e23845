import { z } from 'zod'

import { parseAddress, recordName } from '../address/address.ts'
import { hashBytes, isHash } from '../blob/hash.ts'
import { InvalidAddressError, InvalidMessageError } from '../errors.ts'
import { ADDRESS_CHARS_MAX, MEDIA_TYPE_CHARS_MAX } from '../limits.ts'
import {
  AUTHOR_CHARS_MAX,
  CONTENT_INLINE_BYTES_MAX,
  KEY_CHARS_MAX,
  MESSAGE_BYTES_MAX,
  PARENTS_MAX,
  REFS_MAX,
} from './constants.ts'

export const MESSAGE_ROLES = ['system', 'user', 'assistant', 'tool', 'event'] as const

export type MessageRole = (typeof MESSAGE_ROLES)[number]

/**
 * One message, as it is stored: a blob of canonical JSON, whose hash is the message's name. The
 * hashes of the messages it follows are part of it, so a message vouches for all before it.
 */
export interface ThreadMessage {
  /** Canonical address of the thread. */
  thread: string
  /** One more than the highest of its parents; 1 for the first. */
  seq: number
  /** Hashes of the messages it follows, in their order; several after a partition. */
  parents: string[]
  role: MessageRole
  /** Who wrote it: the subject of a token, unless an import says otherwise. */
  author: string
  /** The text, or `contentHash`: one of them. */
  content?: string
  /** Blob with the content, where it is long or no text. */
  contentHash?: string
  contentBytes?: number
  /** Of the content; absent for plain text. */
  mediaType?: string
  /** ISO 8601 in UTC with milliseconds, by the clock of whoever appended it. */
  createdAt: string
  /** Addresses that it speaks of. */
  refs: string[]
  /** What makes a second append of it the same message. */
  key?: string
}

const hash = z.string().refine(isHash)

/** Text that has one encoding only. */
const text = (charsMax: number) =>
  z
    .string()
    .min(1)
    .max(charsMax)
    .refine((value) => value.isWellFormed(), 'not well-formed Unicode')
    .refine((value) => !value.includes('\0'), 'a NUL character')

export const authorSchema = text(AUTHOR_CHARS_MAX)
export const keySchema = text(KEY_CHARS_MAX)
export const refsSchema = z.array(text(ADDRESS_CHARS_MAX)).max(REFS_MAX)
export const mediaTypeSchema = z
  .string()
  .max(MEDIA_TYPE_CHARS_MAX)
  .regex(/^[\w.+-]+\/[\w.+-]+(?:\s*;[\x20-\x7e]*)?$/, 'not of the form type/subtype')
export const timeSchema = z
  .string()
  .max(32)
  .refine(isCanonicalTime, 'not a time such as 2026-11-23T18:00:00.000Z')

const messageSchema = z
  .strictObject({
    thread: z.string().max(ADDRESS_CHARS_MAX).refine(isThreadName),
    seq: z.int().min(1),
    parents: z.array(hash).max(PARENTS_MAX).refine(isSortedSet),
    role: z.enum(MESSAGE_ROLES),
    author: authorSchema,
    content: z
      .string()
      .refine((value) => value.isWellFormed())
      .refine((value) => Buffer.byteLength(value) <= CONTENT_INLINE_BYTES_MAX)
      .exactOptional(),
    contentHash: hash.exactOptional(),
    contentBytes: z.int().min(0).exactOptional(),
    mediaType: mediaTypeSchema.exactOptional(),
    createdAt: timeSchema,
    refs: refsSchema,
    key: keySchema.exactOptional(),
  })
  .refine(({ content, contentHash }) => (content === undefined) !== (contentHash === undefined))
  .refine(
    ({ contentHash, contentBytes }) => (contentHash === undefined) === (contentBytes === undefined),
  )
  .refine(({ seq, parents }) => (seq === 1) === (parents.length === 0))

/** Field order is the encoding: the same message has the same bytes everywhere. */
function inOrder(message: ThreadMessage): ThreadMessage {
  const { thread, seq, parents, role, author, content, contentHash, contentBytes } = message
  const { mediaType, createdAt, refs, key } = message
  return {
    ...{ thread, seq, parents, role, author },
    ...(content !== undefined && { content }),
    ...(contentHash !== undefined && { contentHash }),
    ...(contentBytes !== undefined && { contentBytes }),
    ...(mediaType !== undefined && { mediaType }),
    ...{ createdAt, refs },
    ...(key !== undefined && { key }),
  }
}

/** The bytes that are stored and hashed. */
export function encodeMessage(message: ThreadMessage): Buffer {
  return Buffer.from(JSON.stringify(inOrder(message)))
}

export function messageHash(message: ThreadMessage): string {
  return hashBytes(encodeMessage(message))
}

/** Reads a message from bytes of any origin. @throws InvalidMessageError */
export function decodeMessage(bytes: Uint8Array): ThreadMessage {
  const message = decodeCanonical(bytes, messageSchema, MESSAGE_BYTES_MAX, 'message')
  if (!encodeMessage(message).equals(bytes)) {
    throw new InvalidMessageError('The message is not in its canonical encoding.')
  }
  return message
}

/** JSON of a shape. Whether it is the canonical text is for the caller to see. */
export function decodeCanonical<T>(
  bytes: Uint8Array,
  schema: z.ZodType<T>,
  bytesMax: number,
  what: string,
): T {
  if (bytes.length > bytesMax) throw new InvalidMessageError(`The ${what} is too long.`)
  try {
    return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
  } catch (error) {
    throw new InvalidMessageError(`The ${what} cannot be read.`, { cause: error })
  }
}

/** The project of a thread's name: whose limit counts. */
export function projectOf(thread: string): string {
  const address = parseAddress(thread)
  if (address.kind !== 'semantic') throw new InvalidAddressError('A thread has a name, no hash.')
  return address.project
}

/** Whether a thread can have this name: a semantic address in its canonical text. */
export function isThreadName(name: string): boolean {
  try {
    const address = parseAddress(name)
    return address.kind === 'semantic' && recordName(address) === name
  } catch (error) {
    if (error instanceof InvalidAddressError) return false
    throw error
  }
}

export function isSortedSet(hashes: readonly string[]): boolean {
  return hashes.every((each, index) => index === 0 || hashes[index - 1]! < each)
}

export function isCanonicalTime(value: string): boolean {
  const time = new Date(value)
  return !Number.isNaN(time.getTime()) && time.toISOString() === value
}
