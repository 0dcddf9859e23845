import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'

import { toWireError } from '../../shared/http/wire-error.ts'

/**
 * Answers with the wire error of what was thrown, where no framework does it. An answer that has
 * begun is cut instead, so that it does not look whole.
 */
export function answerError(
  response: ServerResponse,
  id: string | string[] | undefined,
  error: unknown,
): void {
  if (response.headersSent || response.destroyed) {
    response.destroy()
    return
  }
  const wire = toWireError(error, typeof id === 'string' ? id : randomUUID())
  response.writeHead(wire.status, { ...wire.headers, 'content-type': 'application/json' })
  response.end(JSON.stringify(wire.body))
}
