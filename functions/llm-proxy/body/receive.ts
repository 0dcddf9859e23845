import type { IncomingMessage } from 'node:http'

import { BodyTooLargeError, UploadCutError } from '../../../shared/errors.ts'
import type { BodyBudget } from './body-budget.ts'

/** A body in memory; `release` gives back its share of the budget, once. */
export interface HeldBody {
  bytes: Buffer
  release: () => void
}

/**
 * Takes a body into memory, within its own bound and the one that all bodies share.
 * @throws BodyTooLargeError, OverloadedError, UploadCutError
 */
export function receiveWhole(
  stream: IncomingMessage,
  budget: BodyBudget,
  init: { bytesMax: number },
): Promise<HeldBody> {
  const { bytesMax } = init
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    let taken = 0
    const release = (): void => {
      budget.give(taken)
      taken = 0
    }
    const fail = (error: unknown): void => {
      stream.removeAllListeners('data')
      chunks.length = 0
      release()
      // What still comes is read and dropped, so that the answer arrives.
      stream.resume()
      reject(error as Error)
    }
    const take = (bytes: number): void => {
      if (bytes > bytesMax) {
        throw new BodyTooLargeError(`The body is larger than ${bytesMax} bytes.`)
      }
      if (bytes <= taken) return
      budget.take(bytes - taken)
      taken = bytes
    }
    try {
      take(Number(stream.headers['content-length'] ?? 0))
    } catch (error) {
      return fail(error)
    }
    stream.on('data', (chunk: Buffer) => {
      length += chunk.length
      try {
        take(length)
        chunks.push(chunk)
      } catch (error) {
        fail(error)
      }
    })
    stream.once('end', () => {
      const bytes = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
      resolve({ bytes, release })
    })
    const onCut = (cause?: Error): void => {
      if (stream.complete) return
      fail(new UploadCutError('The body ended before its last byte.', { cause }))
    }
    stream.once('error', onCut)
    stream.once('close', onCut)
  })
}
