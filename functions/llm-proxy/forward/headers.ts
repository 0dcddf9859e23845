import type { IncomingHttpHeaders } from 'node:http'

import { HOP_BY_HOP } from '../../../shared/http/hop-by-hop.ts'

/** What a caller says that the upstream is told. Everything else concerns this hop alone. */
const REQUEST_HEADERS = [
  'content-type',
  'accept',
  'user-agent',
  'openai-beta',
  'idempotency-key',
  'x-client-request-id',
  'traceparent',
  'tracestate',
] as const

/** What the clients of OpenAI say of themselves. */
const REQUEST_PREFIX = 'x-stainless-'

/** Headers of one connection, and such as are about the upstream's own site. */
const ANSWER_HEADERS_DROPPED = new Set([
  ...HOP_BY_HOP,
  'set-cookie',
  'alt-svc',
  'strict-transport-security',
])

export function requestHeaders(given: IncomingHttpHeaders): Record<string, string> {
  // Compressed events could be neither counted nor ended with an error.
  const headers: Record<string, string> = { 'accept-encoding': 'identity' }
  for (const name of REQUEST_HEADERS) {
    const value = given[name]
    if (typeof value === 'string') headers[name] = value
  }
  for (const name in given) {
    if (!name.startsWith(REQUEST_PREFIX)) continue
    const value = given[name]
    if (typeof value === 'string') headers[name] = value
  }
  return headers
}

/** `own` stands over what the upstream says; it cannot speak in our name. */
export function answerHeaders(
  given: IncomingHttpHeaders,
  own: Readonly<Record<string, string>>,
  init: { isMesh: boolean; keepsLength: boolean },
): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {}
  for (const name in given) {
    if (ANSWER_HEADERS_DROPPED.has(name)) continue
    if (name.startsWith('bzzz-') && !(init.isMesh && name === 'bzzz-served-by')) continue
    if (name === 'content-length' && !init.keepsLength) continue
    const value = given[name]
    if (value !== undefined) headers[name] = value
  }
  for (const name in own) headers[name] = own[name]!
  return headers
}

/** Seconds or a date, as milliseconds from now; null where it is neither. */
export function retryAfterMs(headers: IncomingHttpHeaders): number | null {
  const exact = Number(headers['retry-after-ms'])
  if (headers['retry-after-ms'] !== undefined && Number.isFinite(exact)) return Math.max(exact, 0)
  const text = headers['retry-after']
  if (text === undefined) return null
  const seconds = Number(text)
  if (Number.isFinite(seconds)) return Math.max(seconds * 1000, 0)
  const at = Date.parse(text)
  return Number.isNaN(at) ? null : Math.max(at - Date.now(), 0)
}
