import { z } from 'zod'

import { hashBytes, isHash } from '../blob/hash.ts'
import { InvalidRequestError } from '../errors.ts'
import { parseWith } from '../http/parse.ts'
import { CONTENT_BYTES_MAX, CONTENT_INLINE_BYTES_MAX } from './constants.ts'
import type { UnplacedMessage } from './dag.ts'
import {
  authorSchema,
  keySchema,
  mediaTypeSchema,
  MESSAGE_ROLES,
  refsSchema,
  timeSchema,
} from './message.ts'
import { searchedText } from './searched-text.ts'

/** A message as somebody sends it. */
export const newMessageSchema = z
  .strictObject({
    role: z.enum(MESSAGE_ROLES),
    /** The text; a long one is put into a blob of its own. */
    content: z
      .string()
      .refine((value) => value.isWellFormed(), 'not well-formed Unicode')
      .exactOptional(),
    /** A blob that is stored already, instead of `content`. */
    contentHash: z.string().refine(isHash, 'not a BLAKE3 hash').exactOptional(),
    mediaType: mediaTypeSchema.exactOptional(),
    author: authorSchema.exactOptional(),
    createdAt: timeSchema.exactOptional(),
    refs: refsSchema.exactOptional(),
    /** A second message of the thread with the same key is the first one. */
    key: keySchema.exactOptional(),
  })
  .refine(
    ({ content, contentHash }) => (content === undefined) !== (contentHash === undefined),
    'either content or contentHash',
  )

export type NewMessage = z.output<typeof newMessageSchema>

/** A message with what has to be stored beside it. */
export interface PreparedMessage {
  unplaced: UnplacedMessage
  /** Content that goes into a blob of its own. */
  content?: Buffer
  /** It is stored already, because it is too large for a batch. */
  isStored?: boolean
  searched: string
}

/**
 * Checks a message and decides where its content lies.
 * @throws InvalidRequestError
 */
export function prepareMessage(
  given: NewMessage,
  defaults: { author: string; createdAt: string; contentBytes?: number },
): PreparedMessage {
  const message = parseWith(newMessageSchema, given)
  const { role, content, contentHash, mediaType, key, refs = [] } = message
  const { author = defaults.author, createdAt = defaults.createdAt } = message
  const rest = {
    ...(mediaType !== undefined && { mediaType }),
    ...{ createdAt, refs },
    ...(key !== undefined && { key }),
  }
  if (content === undefined) {
    const { contentBytes = 0 } = defaults
    const own = { contentHash: contentHash!, contentBytes }
    return { unplaced: { role, author, ...own, ...rest }, searched: '' }
  }
  const bytes = Buffer.from(content)
  const searched = searchedText(message, bytes)
  if (bytes.length <= CONTENT_INLINE_BYTES_MAX) {
    return { unplaced: { role, author, content, ...rest }, searched }
  }
  if (bytes.length > CONTENT_BYTES_MAX) {
    throw new InvalidRequestError(
      `A message has at most ${CONTENT_BYTES_MAX} bytes: store the file and refer to it.`,
    )
  }
  const own = { contentHash: hashBytes(bytes), contentBytes: bytes.length }
  return { unplaced: { role, author, ...own, ...rest }, content: bytes, searched }
}

/** Whether two messages with one key say the same. */
export function isSameMessage(
  a: Pick<UnplacedMessage, 'role' | 'content' | 'contentHash'>,
  b: Pick<UnplacedMessage, 'role' | 'content' | 'contentHash'>,
): boolean {
  return a.role === b.role && a.content === b.content && a.contentHash === b.contentHash
}
