import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'

import { toWireError } from '../../shared/http/wire-error.ts'

/**
 * Answers with the wire error of what was thrown, where no framework does it. An answer that has
 * begun is cut instead, so that it does not look whole.
 * @returns the status, also where the caller did not get it
 */
export function answerError(
  response: ServerResponse,
  id: string | string[] | undefined,
  error: unknown,
): number {
  const wire = toWireError(error, typeof id === 'string' ? id : randomUUID())
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return wire.status
  }
  response.writeHead(wire.status, { ...wire.headers, 'content-type': 'application/json' })
  response.end(JSON.stringify(wire.body))
  return wire.status
}
