/** The cursor is written at most this often; a crash reads again what was read since. */
export const SAVE_INTERVAL_MS = 5_000

/** Longest sleep in one piece: timers of Node end at 24 days, and a set clock is noticed sooner. */
export const PAUSE_MS_MAX = 60_000

/** Pauses add up to this before the scrub sleeps: a timer a small blob would cost more. */
export const PAUSE_MS_MIN = 10

/** A read that the disk refused is tried again after this, so often, then counted as failed. */
export const FAILURE_PAUSE_MS = 5_000
export const READ_TRIES_MAX = 3

/** A regular pass aims to end this early, so that no blob waits longer than the period. */
export const PERIOD_SHARE = 0.95
