/** Rows that wait for the database, about 1 KiB each: an hour of ten calls a second. */
export const ROWS_PENDING_MAX = 36_000

/** What usage can be told by at once; each further key multiplies the rows. */
export const KEYS_MAX = 3

/** Without a beginning, usage is told from so long ago on. */
export const SINCE_DEFAULT_MS = 30 * 86_400_000

/** A page that lies further back is not asked for by anybody. */
export const OFFSET_MAX = 100_000
