import { QueueUnavailableError } from '../errors.ts'
import { OPERATION_TIMEOUT_MS } from './constants.ts'

/** Codes and names with which the drivers say that the server is not there, or not yet. */
const AWAY =
  /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|08|57P|53300|3D000|CONNECTION_CLOSED)/

/** Some say it in words alone. */
const AWAY_WORDS =
  /terminated|not queryable|timeout|timed out|is closed|not connected|isn't writeable|Stream |not initialized|max retries|LOADING|READONLY|relation "?bullmq|does not exist/i

/**
 * Runs an operation on the queue with an end. What the server's absence caused is told as
 * QueueUnavailableError, after `onAway`; errors of ours pass through.
 */
export async function guarded<T>(operation: () => Promise<T>, onAway: () => void): Promise<T> {
  try {
    return await withTimeout(operation)
  } catch (error) {
    throw asUnavailable(error, onAway)
  }
}

/** QueueUnavailableError for what the server's absence caused, after `onAway`; else the error. */
export function asUnavailable(error: unknown, onAway: () => void): unknown {
  if (!isAway(error)) return error
  onAway()
  return new QueueUnavailableError('The queue is away; try again shortly.', { cause: error })
}

async function withTimeout<T>(operation: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error('The queue did not answer: timeout.')),
      OPERATION_TIMEOUT_MS,
    )
  })
  try {
    return await Promise.race([operation(), late])
  } finally {
    clearTimeout(timer)
  }
}

export function isAway(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isAway)
  if (!(error instanceof Error)) return false
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  if (code.startsWith('BZZZ_')) return false
  return AWAY.test(code) || AWAY_WORDS.test(error.message)
}
