import type { z } from 'zod'

import { ProtocolViolationError } from '../../shared/errors.ts'

/** Reads the JSON of a peer. @throws ProtocolViolationError */
export function decodeMessage<T>(schema: z.ZodType<T>, bytes: Uint8Array): T {
  try {
    return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)))
  } catch (error) {
    throw new ProtocolViolationError('The message does not follow its protocol.', { cause: error })
  }
}

export function encodeMessage(message: object): Uint8Array {
  return Buffer.from(JSON.stringify(message))
}
