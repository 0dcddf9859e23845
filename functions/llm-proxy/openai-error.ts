import type { WireError } from '../../shared/http/wire-error.ts'

/** Codes for which clients of OpenAI know a name already; all others keep ours. */
const CODES: Readonly<Record<string, string>> = {
  BZZZ_TOKEN_MISSING: 'invalid_api_key',
  BZZZ_TOKEN_INVALID: 'invalid_api_key',
  BZZZ_TOKEN_EXPIRED: 'invalid_api_key',
  BZZZ_TOKEN_REVOKED: 'invalid_api_key',
  BZZZ_MODEL_NOT_FOUND: 'model_not_found',
  BZZZ_RATE_LIMIT_EXCEEDED: 'rate_limit_exceeded',
  BZZZ_BUDGET_EXCEEDED: 'budget_exceeded',
}

const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  429: 'rate_limit_error',
}

/** An error as clients of OpenAI read it; the code of bzzz stands beside. */
export function toOpenAIError({ status, body }: WireError): object {
  const { code, message, requestId } = body.error
  const type = TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'server_error')
  const param = code === 'BZZZ_MODEL_NOT_FOUND' ? 'model' : null
  return { error: { message, type, param, code: CODES[code] ?? code, bzzz: code, requestId } }
}
