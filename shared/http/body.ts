import type { IncomingMessage } from 'node:http'

import type { FastifyRequest } from 'fastify'

import { BodyTooLargeError, UploadCutError } from '../errors.ts'

/**
 * Refuses an announced length over the limit before a byte of the body is read.
 * @throws BodyTooLargeError
 */
export function checkBodySize(request: FastifyRequest, sizeBytesMax: number): void {
  const announced = Number(request.headers['content-length'] ?? 0)
  if (announced > sizeBytesMax) {
    throw new BodyTooLargeError(`The body is larger than ${sizeBytesMax} bytes.`)
  }
}

/**
 * The body as it arrives, for routes whose content type parser passes the stream on. A sender that
 * leaves early ends it with UploadCutError instead of a shorter body.
 */
export async function* receiveBody(request: FastifyRequest): AsyncIterable<Uint8Array> {
  const stream = request.body as IncomingMessage | undefined
  if (!stream) return
  try {
    for await (const chunk of stream) yield chunk as Uint8Array
  } catch (error) {
    throw new UploadCutError('The upload ended before its last byte.', { cause: error })
  }
}
