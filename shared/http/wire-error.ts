import { CallerLeftError, RemoteError } from '../errors.ts'

/** What proxies log for a caller that left before the answer; never sent to anybody. */
export const STATUS_CALLER_LEFT = 499

/** An abort is wrapped by the layers it passes; no chain of causes is longer. */
const CAUSES_MAX = 8

/**
 * The wire family: how a local error looks to a caller. This table is the only place where a code
 * meets an HTTP status. A server fault never gets a client's status.
 *
 * Body: `{"error": {"code", "message", "requestId"}, ...details}`.
 */
export const STATUS_BY_CODE: Readonly<Record<string, number>> = {
  BZZZ_ADDRESS_INVALID: 400,
  BZZZ_HASH_INVALID: 400,
  BZZZ_REQUEST_INVALID: 400,
  BZZZ_UPLOAD_CUT: 400,
  BZZZ_DEPLOYMENT_INVALID: 400,
  BZZZ_INVITATION_INVALID: 400,
  BZZZ_HASH_MISMATCH: 422,
  BZZZ_RECORD_INVALID: 422,
  BZZZ_V1_TOO_MANY_CHAINS: 422,
  BZZZ_V1_LOG_BROKEN: 422,
  BZZZ_V1_CHUNK_INVALID: 422,
  BZZZ_V1_LOG_NOT_FOUND: 404,
  BZZZ_V1_IMPORT_NOT_FOUND: 404,
  BZZZ_V1_IMPORT_STATE: 409,
  BZZZ_V1_HYPERCORE_MISSING: 501,
  BZZZ_MESSAGE_INVALID: 422,
  BZZZ_IDEMPOTENCY_MISMATCH: 422,
  BZZZ_TOKEN_MISSING: 401,
  BZZZ_TOKEN_INVALID: 401,
  BZZZ_TOKEN_EXPIRED: 401,
  BZZZ_TOKEN_REVOKED: 401,
  BZZZ_SCOPE_MISSING: 403,
  BZZZ_AUTHOR_NOT_ALLOWED: 403,
  BZZZ_ROUTE_NOT_FOUND: 404,
  BZZZ_BLOB_NOT_FOUND: 404,
  BZZZ_ADDRESS_NOT_FOUND: 404,
  BZZZ_VERSION_NOT_FOUND: 404,
  BZZZ_FUNCTION_NOT_FOUND: 404,
  BZZZ_SECRET_NOT_FOUND: 404,
  BZZZ_NODE_NOT_FOUND: 404,
  BZZZ_JOB_NOT_FOUND: 404,
  BZZZ_AGENT_NOT_FOUND: 404,
  BZZZ_PIN_NOT_FOUND: 404,
  BZZZ_LEASE_NOT_FOUND: 404,
  BZZZ_HOLD_NOT_FOUND: 404,
  BZZZ_MODEL_NOT_FOUND: 404,
  BZZZ_VERSION_CONFLICT: 409,
  BZZZ_ADDRESS_NOT_FORKED: 409,
  BZZZ_SECRET_EXISTS: 409,
  BZZZ_THREAD_EXISTS: 409,
  BZZZ_NOT_A_THREAD: 409,
  BZZZ_NODE_NOT_DRAINED: 409,
  BZZZ_JOB_STATE: 409,
  BZZZ_INVITATION_USED: 409,
  BZZZ_NODE_NAME_TAKEN: 409,
  BZZZ_NODE_ALREADY_MEMBER: 409,
  BZZZ_NETWORK_KEY_CONFLICT: 409,
  BZZZ_GC_RUNNING: 409,
  BZZZ_GC_HELD: 409,
  BZZZ_INVITATION_EXPIRED: 410,
  BZZZ_BODY_TOO_LARGE: 413,
  BZZZ_RANGE_NOT_SATISFIABLE: 416,
  BZZZ_OVERLOADED: 429,
  BZZZ_RATE_LIMIT_EXCEEDED: 429,
  BZZZ_BUDGET_EXCEEDED: 429,
  // Never sent: counted and logged for an answer that nobody waits for any more.
  BZZZ_CALLER_LEFT: STATUS_CALLER_LEFT,
  BZZZ_AUTH_THROTTLED: 429,
  BZZZ_INTERNAL: 500,
  BZZZ_NOT_SUPPORTED: 501,
  BZZZ_FUNCTION_UNREACHABLE: 502,
  BZZZ_PROTOCOL_VIOLATION: 502,
  BZZZ_PEER_UNREACHABLE: 502,
  BZZZ_UPSTREAM_UNREACHABLE: 502,
  BZZZ_UPSTREAM_REFUSED: 502,
  BZZZ_UPSTREAM_BROKEN: 502,
  BZZZ_UPSTREAM_MISSING: 503,
  BZZZ_BLOB_CORRUPT: 503,
  BZZZ_QUORUM_NOT_REACHED: 503,
  BZZZ_PARTITION_MINORITY: 503,
  BZZZ_DAEMON_UNAVAILABLE: 503,
  BZZZ_DATABASE_UNAVAILABLE: 503,
  BZZZ_LIMITS_UNAVAILABLE: 503,
  BZZZ_AUDIT_UNAVAILABLE: 503,
  BZZZ_REDIS_UNAVAILABLE: 503,
  BZZZ_QUEUE_UNAVAILABLE: 503,
  BZZZ_FUNCTION_UNAVAILABLE: 503,
  BZZZ_SHUTTING_DOWN: 503,
  BZZZ_STORAGE_UNAVAILABLE: 503,
  BZZZ_FUNCTION_TIMEOUT: 504,
  BZZZ_UPSTREAM_TIMEOUT: 504,
  BZZZ_QUOTA_EXCEEDED: 507,
  // These stop a process at start; they reach a terminal, not a caller.
  BZZZ_CONFIG_INVALID: 500,
  BZZZ_AUDIT_BROKEN: 500,
  BZZZ_EXCHANGE_BROKEN: 500,
  BZZZ_DATABASE_NEWER: 500,
  BZZZ_DATABASE_OLDER: 500,
  BZZZ_PORT_IN_USE: 500,
  BZZZ_DATA_FOLDER_FOREIGN: 500,
  BZZZ_DATA_FOLDER_NEWER: 500,
  BZZZ_DATA_FOLDER_UNWRITABLE: 500,
  BZZZ_DATA_FOLDER_INCOMPLETE: 500,
  BZZZ_DATA_FOLDER_LOCKED: 500,
  BZZZ_PROCESS_START: 500,
}

/** Seconds after which a caller may try a 503 again, where the error itself does not say. */
const UNAVAILABLE_RETRY_SECONDS = 1

export interface WireError {
  status: number
  headers: Record<string, string>
  body: { error: { code: string; message: string; requestId: string } } & Record<string, unknown>
}

interface Coded {
  code: string
  message: string
}

function isCoded(error: unknown): error is Coded {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    error.code in STATUS_BY_CODE
  )
}

/** Faults of the framework (fastify) that are the caller's, under our codes. */
const FRAMEWORK_CODES: Readonly<Record<string, [code: string, message: string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['BZZZ_BODY_TOO_LARGE', 'The body is larger than the limit.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['BZZZ_REQUEST_INVALID', 'The content type is not supported.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['BZZZ_UPLOAD_CUT', 'The body is not as long as announced.'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['BZZZ_REQUEST_INVALID', 'The body is empty.'],
  FST_ERR_CTP_INVALID_JSON_BODY: ['BZZZ_REQUEST_INVALID', 'The body is not valid JSON.'],
  FST_ERR_BAD_URL: ['BZZZ_REQUEST_INVALID', 'The URL cannot be decoded.'],
  FST_ERR_NOT_FOUND: ['BZZZ_ROUTE_NOT_FOUND', 'There is no such route.'],
}

/** A caller that left aborts the work for it, and layers below wrap that in errors of their own. */
function callerLeftOf(error: unknown): CallerLeftError | null {
  let cause = error
  for (let depth = 0; depth < CAUSES_MAX && cause instanceof Error; depth += 1) {
    if (cause instanceof CallerLeftError) return cause
    cause = cause.cause
  }
  return null
}

function classify(error: unknown): Coded {
  const left = callerLeftOf(error)
  if (left) return left
  if (isCoded(error)) return error
  if (error instanceof RemoteError) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const framework = FRAMEWORK_CODES[code]
  if (framework) return { code: framework[0], message: framework[1] }
  return { code: 'BZZZ_INTERNAL', message: 'The request failed inside the server.' }
}

function extraOf(error: unknown): { headers: Record<string, string>; body: object } {
  const headers: Record<string, string> = {}
  const body: Record<string, unknown> = {}
  if (!(error instanceof Error)) return { headers, body }
  if ('retryAfterSeconds' in error) headers['retry-after'] = String(error.retryAfterSeconds)
  if ('limitHeaders' in error) Object.assign(headers, error.limitHeaders)
  if ('current' in error) body['current'] = error.current
  if ('quota' in error) body['quota'] = error.quota
  if ('sizeBytes' in error) body['size'] = error.sizeBytes
  if (error instanceof RemoteError) Object.assign(body, error.details)
  if ('size' in body) headers['content-range'] = `bytes */${String(body['size'])}`
  return { headers, body }
}

/** Maps any thrown value to what the caller sees. Unknown errors reveal nothing of themselves. */
export function toWireError(error: unknown, requestId: string): WireError {
  const { code, message } = classify(error)
  const status =
    STATUS_BY_CODE[code] ??
    (error instanceof RemoteError && error.status < 600 ? error.status : 500)
  const { headers, body } = extraOf(error)
  if (status === 503) headers['retry-after'] ??= String(UNAVAILABLE_RETRY_SECONDS)
  if (status === 401) headers['www-authenticate'] = 'Bearer realm="bzzz"'
  return { status, headers, body: { ...body, error: { code, message, requestId } } }
}

/** The other direction: what a client makes of an answer that is not a success. */
export function fromWireError(status: number, text: string): RemoteError {
  try {
    const parsed = JSON.parse(text) as { error?: { code?: unknown; message?: unknown } }
    const { error, ...details } = parsed
    if (typeof error?.code === 'string' && typeof error.message === 'string') {
      return new RemoteError(error.code, status, error.message, details)
    }
  } catch {
    // Not our wire family: a proxy in between answered. The status is all there is.
  }
  return new RemoteError('BZZZ_INTERNAL', status, `The server answered ${status}.`, {})
}
