/** Rates are per minute, as people think of them. */
const RATE_WINDOW_SECONDS = 60

/** A part of the minute's calls may come at once; the rest is spread over the minute. */
const BURST_SHARE = 0.5

/** How often something may be done. */
export interface Rate {
  perMinute: number
}

/** Milliseconds to wait; 0 is a yes, and the call counts. */
export type RateAnswer = number

export interface RateLimit {
  take(key: string, rate: Rate): RateAnswer | Promise<RateAnswer>
  close(): Promise<void>
}

/** The generic cell rate algorithm: one time for each key says everything. */
export function cellOf({ perMinute }: Rate): { intervalMs: number; toleranceMs: number } {
  const intervalMs = (RATE_WINDOW_SECONDS * 1000) / perMinute
  const burst = Math.max(1, Math.floor(perMinute * BURST_SHARE))
  return { intervalMs, toleranceMs: (burst - 1) * intervalMs }
}
