import type { CallToolResult } from '@modelcontextprotocol/server'

import { toWireError } from '../../../shared/http/wire-error.ts'

/** What a model may do about an error, by its code. */
const NEXT: Readonly<Record<string, string>> = {
  BZZZ_ADDRESS_INVALID:
    'Write addresses as bzzz://agent@project/path or bzzz://b3/<64 hex>; blob_find lists some.',
  BZZZ_ADDRESS_NOT_FOUND:
    'Look for it with blob_find, or create it: with name_set, a thread with thread_append.',
  BZZZ_VERSION_NOT_FOUND: 'Read the address without ?v= or ?at= for the version that stands.',
  BZZZ_VERSION_CONFLICT:
    'Read the address with name_get, merge your change, and set it again with that version.',
  BZZZ_THREAD_EXISTS: 'Append to it with thread_append, or choose another name.',
  BZZZ_NOT_A_THREAD: 'The name stands for other content: read it with blob_get.',
  BZZZ_BLOB_NOT_FOUND: 'Check the hash; content that nothing refers to is removed after a while.',
  BZZZ_BLOB_CORRUPT: 'Try again in a few seconds: the copy is being repaired from another node.',
  BZZZ_HASH_INVALID: 'A hash is 64 hexadecimal digits.',
  BZZZ_REQUEST_INVALID: 'Mend the arguments as the message says and call again.',
  BZZZ_BODY_TOO_LARGE: 'Store large content over HTTP (bzzz put) and pass its address.',
  BZZZ_RANGE_NOT_SATISFIABLE: 'The offset is beyond the end; blob_stat tells the size.',
  BZZZ_JOB_NOT_FOUND: 'List your own jobs with job_list; finished ones are kept for a day.',
  BZZZ_JOB_STATE: 'Look at the state with job_get first.',
  BZZZ_IDEMPOTENCY_MISMATCH: 'Use a new idempotency_key for a different call.',
  BZZZ_AGENT_NOT_FOUND: 'List the agents that are alive with agent_list.',
  BZZZ_NODE_NOT_FOUND: 'List the nodes with node_list (toolset ops).',
  BZZZ_NODE_NOT_DRAINED:
    'Drain it with node_drain first, and wait until mesh_status owes no copies.',
  BZZZ_GC_RUNNING: 'Wait for the one that runs: gc_status tells how far it is.',
  BZZZ_GC_HELD: 'Try again when the backup or hold that the message names has ended.',
  BZZZ_PIN_NOT_FOUND: 'Nothing to do: it is not pinned.',
  BZZZ_TOKEN_EXPIRED: 'Ask the operator for a new token.',
  BZZZ_TOKEN_REVOKED: 'Ask the operator for a new token.',
  BZZZ_AUTH_THROTTLED: 'Wait as long as the message says, then call again.',
  BZZZ_MESSAGE_INVALID: 'Mend the message as the error says and send it again.',
  BZZZ_SCOPE_MISSING: 'Ask the operator for a token that covers this; mesh_whoami tells yours.',
  BZZZ_AUTHOR_NOT_ALLOWED: 'Write to an address that the ownership policy leaves to this node.',
  BZZZ_QUOTA_EXCEEDED: 'Ask the operator for room, or let old content of the project go.',
  BZZZ_OVERLOADED: 'Wait as long as the message says, then call again.',
  BZZZ_QUORUM_NOT_REACHED: 'Try the same call again: what was stored stays.',
  BZZZ_PARTITION_MINORITY: 'Try again later: most nodes are out of reach. Reading still works.',
}

/** Of who could not be reached, or is not ready. */
const TEMPORARY_STATUSES: readonly number[] = [502, 503, 504]
const TEMPORARY = 'Temporary: try the same call again in a few seconds.'
const INTERNAL = 'Tell the operator the request id; the same call may work later.'

export interface Failure {
  code: string
  status: number
  result: CallToolResult
}

/**
 * An error as a model reads it: what went wrong and what to do next. Never with structured content,
 * which clients would check against the schema of a success.
 */
export function toFailure(error: unknown, requestId: string): Failure {
  const { status, body, headers } = toWireError(error, requestId)
  const { code, message } = body.error
  const next = NEXT[code] ?? (TEMPORARY_STATUSES.includes(status) ? TEMPORARY : null)
  const lines = [
    `${code}: ${message}`,
    ...('current' in body ? [`current: ${JSON.stringify(body['current'])}`] : []),
    ...(headers['retry-after'] === undefined ? [] : [`retry after ${headers['retry-after']} s`]),
    `Next: ${next ?? (status >= 500 ? `${INTERNAL} (${requestId})` : 'Change the call.')}`,
  ]
  return {
    code,
    status,
    result: { content: [{ type: 'text', text: lines.join('\n') }], isError: true },
  }
}
