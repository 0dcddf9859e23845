/** Rows that wait for the database. At 300 writes a second, a minute of it being away. */
export const PENDING_MAX = 20_000

/** When a writer that found no room may come back. */
export const NO_ROOM_RETRY_SECONDS = 5
