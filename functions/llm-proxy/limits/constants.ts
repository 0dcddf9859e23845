/** Limits by the minute look back over this many slices of a second, beside the present one. */
export const WINDOW_SLICES = 60
export const SLICE_MS = 1_000

/** What a killed replica held is free after this; a live one renews it three times as often. */
export const RESERVATION_TTL_MS = 60_000
export const RENEW_MS = 20_000

/** Renewed in one go: some 40 KiB of ids. */
export const RENEW_BATCH_MAX = 1_000

/** That a call was settled is remembered this long, so that settling it again changes nothing. */
export const SETTLED_KEPT_MS = 120_000

/** Money that is counted is of interest until the month it belongs to is over. */
export const STATE_KEPT_MS = 33 * 86_400_000

/** Without money and open calls, nothing counts for longer than the window. */
export const IDLE_STATE_KEPT_MS = 2 * WINDOW_SLICES * SLICE_MS

/** How often what no longer counts is cleared away. */
export const PRUNE_MS = 60_000

/** Reservations that expired are cleared away with others', this many at once: a few ms. */
export const EXPIRED_BATCH_MAX = 100

/** Calls that one question to the store takes together; waiting ones go with the next. */
export const STORE_BATCH_MAX = 128

/**
 * Under load the store rests twice as long as a question took, and at most this long: callers who
 * wait for one answer together come back together, and stand still meanwhile.
 */
export const STORE_REST_MS_MAX = 2

/** Calls that wait for the store; with more it is as good as away. */
export const STORE_PENDING_MAX = 4_096

/** A store that answers later holds up every call. */
export const STORE_TIMEOUT_MS = 3_000

/** After a failure nobody waits for the store for this long. */
export const AWAY_PAUSE_MS = 1_000

/** Ends of calls that wait for the store, about 200 bytes each; the oldest are dropped. */
export const SETTLEMENTS_MAX = 50_000

/** Ends of calls wait so long for claims to go with. Another replica sees a place free later. */
export const SETTLE_GATHER_MS = 15

/** Pause before the ends of calls are sent again. */
export const SETTLE_RETRY_MS = 500

/** A store that is away must not hold up the stop of a replica. */
export const STOP_TIMEOUT_MS = 3_000

/** A call that waits for another one to end is told to come back after this. */
export const CONCURRENT_RETRY_MS = 1_000

/** Rules in one file; each call is matched against all of them. */
export const RULES_MAX = 200

/** Nano-dollars are counted as doubles in Redis; up to here they are exact, with room. */
export const BUDGET_USD_MAX = 1_000_000
