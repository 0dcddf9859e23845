/** Rows of one transaction: a second of heavy writing, in a statement of half a megabyte. */
export const BATCH_MAX = 1000

/** Rows are gathered this long, so that writing them costs ten transactions a second at most. */
export const GATHER_MS = 100

/** Pauses after a failure, doubled up to the second. */
export const RETRY_MS = 250
export const RETRY_MS_MAX = 5_000

/** A process that ends waits this long for the database; then the spool has to do. */
export const STOP_TIMEOUT_MS = 2_000
