import type { Readable } from 'node:stream'

import { request, type Dispatcher } from 'undici'

import { DaemonUnavailableError } from '../../shared/errors.ts'
import { fromWireError } from '../../shared/http/wire-error.ts'

/** A server that stores gigabytes answers when all holders have them; nobody waits longer. */
const ANSWER_TIMEOUT_MS = 600_000

/** A transfer in which nothing moves for this long is dead. */
const IDLE_TIMEOUT_MS = 60_000

export type Answer = Dispatcher.ResponseData

export interface Call {
  method?: Dispatcher.HttpMethod
  token: string
  headers?: Record<string, string>
  body?: Buffer | Readable
  signal: AbortSignal
}

/**
 * One request with the token of the caller.
 * @throws RemoteError for an answer that is no success, DaemonUnavailableError when none came
 */
export async function call(
  url: string,
  { token, headers, signal, ...rest }: Call,
): Promise<Answer> {
  let answer: Answer
  try {
    answer = await request(url, {
      ...rest,
      method: rest.method ?? 'GET',
      headers: { ...headers, authorization: `Bearer ${token}` },
      headersTimeout: ANSWER_TIMEOUT_MS,
      bodyTimeout: IDLE_TIMEOUT_MS,
      signal,
    })
  } catch (error) {
    signal.throwIfAborted()
    throw unreachable(url, error)
  }
  if (answer.statusCode < 400) return answer
  throw fromWireError(answer.statusCode, await answer.body.text())
}

export async function callJSON<T>(url: string, options: Call): Promise<T> {
  const { body } = await call(url, options)
  return (await body.json()) as T
}

/** What went wrong between here and there, with the remedy. */
export function unreachable(url: string, error: unknown): Error {
  const reason = reasonOf(error)
  if (reason === null) return error instanceof Error ? error : new Error(String(error))
  const { origin } = new URL(url)
  return new DaemonUnavailableError(
    `${origin} ${reason}: is bzzz up running there? BZZZ_URL and --data name another.`,
    { cause: error },
  )
}

function reasonOf(error: unknown): string | null {
  const inner = error instanceof AggregateError ? error.errors[0] : error
  const code = inner instanceof Error && 'code' in inner ? String(inner.code) : ''
  if (code === 'ECONNREFUSED') return 'does not answer'
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'is not known'
  if (code === 'UND_ERR_CONNECT_TIMEOUT') return 'does not answer in time'
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return 'did not answer in time'
  if (code === 'UND_ERR_BODY_TIMEOUT') return 'stopped sending'
  if (code.startsWith('UND_ERR_SOCKET') || code === 'ECONNRESET' || code === 'EPIPE') {
    return 'closed the connection'
  }
  return null
}
