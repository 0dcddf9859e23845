import { BlobNotFoundError, RangeNotSatisfiableError, RemoteError } from '../../shared/errors.ts'
import { STATUS_BY_CODE, toWireError } from '../../shared/http/wire-error.ts'
import type { RangeMessage } from './range-message.ts'

export type RangeErrorMessage = Extract<RangeMessage, { type: 'error' }>

/** What a peer may learn about a failure: the same as a caller over HTTP. */
export function toErrorMessage(error: unknown): RangeErrorMessage {
  const { code, message } = toWireError(error, '').body.error
  const sizeBytes = error instanceof RangeNotSatisfiableError ? error.sizeBytes : undefined
  return { type: 'error', code, message, sizeBytes }
}

export function fromErrorMessage(error: RangeErrorMessage): Error {
  const { code, message, sizeBytes } = error
  if (code === 'BZZZ_BLOB_NOT_FOUND') return new BlobNotFoundError(message)
  if (code === 'BZZZ_RANGE_NOT_SATISFIABLE') {
    return new RangeNotSatisfiableError(message, sizeBytes ?? 0)
  }
  return new RemoteError(code, STATUS_BY_CODE[code] ?? 500, message, {})
}
