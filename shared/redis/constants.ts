/** A cache or a count that takes longer than this is slower than doing without. */
export const COMMAND_TIMEOUT_MS = 250

/** A server that does not answer a connect in this time is treated as away. */
export const CONNECT_TIMEOUT_MS = 5_000

/** Pause before the n-th attempt to come back: 50 ms, 100 ms ... at most this. */
export const RECONNECT_PAUSE_MS_MAX = 2_000
