import { z } from 'zod'

import { decodeBatch, encodeBatch } from '../../shared/blob/batch.ts'
import { isHash } from '../../shared/blob/hash.ts'
import { ProtocolViolationError } from '../../shared/errors.ts'
import { COPIES_PER_MESSAGE_MAX } from './constants.ts'

/**
 * Small blobs with the wish to hold them, many in one message: a batch as over HTTP, of which the
 * first part says in JSON what the others are. Larger ones are pulled by whoever is to hold them.
 */
export const COPIES_PROTOCOL = '/bzzz/copies/1.0.0'

export interface Copy {
  hash: string
  bytes: Uint8Array
  /** The node for which the receiver stands in. */
  heldFor?: string
}

const headSchema = z.strictObject({
  copies: z
    .array(
      z.strictObject({
        hash: z.string().refine(isHash),
        heldFor: z.string().min(1).max(128).exactOptional(),
      }),
    )
    .min(1)
    .max(COPIES_PER_MESSAGE_MAX),
})

/** In the order of the question: whether it is durable there. */
const answerSchema = z.strictObject({
  held: z.array(z.boolean()).max(COPIES_PER_MESSAGE_MAX),
})

export function encodeCopies(copies: readonly Copy[]): Buffer {
  const heads = copies.map(({ hash, heldFor }) => ({ hash, ...(heldFor && { heldFor }) }))
  const head = Buffer.from(JSON.stringify({ copies: heads }))
  return encodeBatch([head, ...copies.map(({ bytes }) => bytes)])
}

/** The bytes are views of the message. Whether they have their hashes is for the store to see. */
export function decodeCopies(message: Uint8Array): Copy[] {
  return refusing(() => {
    const { buffer, byteOffset, byteLength } = message
    const [head, ...parts] = decodeBatch(Buffer.from(buffer, byteOffset, byteLength))
    const { copies } = headSchema.parse(parseJSON(head!))
    if (copies.length !== parts.length) throw new RangeError('The parts are not what was said.')
    return copies.map((copy, index) => ({ ...copy, bytes: parts[index]! }))
  })
}

export function encodeHeld(held: readonly boolean[]): Buffer {
  return Buffer.from(JSON.stringify({ held }))
}

export function decodeHeld(message: Uint8Array): boolean[] {
  return refusing(() => answerSchema.parse(parseJSON(message)).held)
}

function parseJSON(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
}

/** @throws ProtocolViolationError */
function refusing<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new ProtocolViolationError('The message does not follow the copies protocol.', {
      cause: error,
    })
  }
}
