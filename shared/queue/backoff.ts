import {
  BACKOFF_FIRST_MS,
  BACKOFF_JITTER,
  BACKOFF_MS_MAX,
  RETRY_AFTER_MS_MAX,
} from './constants.ts'
import { JobRetryError } from './failures.ts'

/** The name under which jobs refer to `backoffMs`. */
export const BACKOFF_TYPE = 'bzzz'

/**
 * The pause before the next attempt, in milliseconds: doubled each time, and spread so that jobs
 * which failed together do not come back together. What the function asked for is the least.
 */
export function backoffMs(
  attemptsMade: number,
  error: unknown,
  random: () => number = Math.random,
): number {
  const whole = Math.min(BACKOFF_FIRST_MS * 2 ** Math.min(attemptsMade - 1, 30), BACKOFF_MS_MAX)
  const spread = whole * (1 - BACKOFF_JITTER * random())
  const asked = error instanceof JobRetryError ? (error.retryAfterMs ?? 0) : 0
  if (asked === 0) return Math.round(spread)
  // Those who were told the same moment are spread over the time after it.
  return Math.min(Math.round(asked + (whole - spread)), RETRY_AFTER_MS_MAX)
}
