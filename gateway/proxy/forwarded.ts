import { randomUUID } from 'node:crypto'
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'

import { HOP_BY_HOP } from '../../shared/http/hop-by-hop.ts'
import { VERSION } from '../../shared/version.ts'

/**
 * Taken from a request. `transfer-encoding` stays: it tells the function that a body without a
 * length follows, and goes with the hop itself.
 */
const DROPPED = HOP_BY_HOP.filter((name) => name !== 'transfer-encoding')

/**
 * A caller may name any header as one of its connection, which takes it away. These say where the
 * body ends and whom the call is for: without them the next hop would read another request.
 */
const KEPT = new Set(['content-length', 'transfer-encoding', 'host'])

const SERVED_BY = `bzzz/${VERSION}`

/**
 * Rewrites the headers of a call as OpenFaaS's gateway does, on the request itself.
 * @returns what the answer carries in addition
 */
export function forwardHeaders({ headers, socket }: IncomingMessage): OutgoingHttpHeaders {
  const named = headers.connection
  if (named !== undefined && named !== 'keep-alive' && named !== 'close') {
    for (const option of named.split(',')) {
      const name = option.trim().toLowerCase()
      if (!KEPT.has(name)) headers[name] = undefined
    }
  }
  // Not deleted: that would slow down every later look at the headers.
  for (const name of DROPPED) {
    if (headers[name] !== undefined) headers[name] = undefined
  }
  headers['x-forwarded-host'] ??= headers.host ?? ''
  headers['x-forwarded-for'] ??= `${socket.remoteAddress ?? ''}:${socket.remotePort ?? ''}`
  // Nanoseconds since the epoch; the clock gives milliseconds.
  const startedAt = `${Date.now()}000000`
  headers['x-start-time'] = startedAt
  const added: OutgoingHttpHeaders = { 'x-start-time': startedAt, 'x-served-by': SERVED_BY }
  if (headers['x-call-id'] === undefined) {
    const callId = randomUUID()
    headers['x-call-id'] = callId
    added['x-call-id'] = callId
  }
  return added
}
