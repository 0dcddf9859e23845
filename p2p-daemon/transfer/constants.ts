import { KiB, MiB } from '../../shared/limits.ts'

/** The version is the last segment. */
export const BLOB_PROTOCOL = '/bzzz/blob/1.0.0'

/** Bytes asked for at once: the chunk the store verifies, so a range costs one verification. */
export const RANGE_BYTES_MAX = 1 * MiB

/** Ranges asked for and not yet read by the caller. Bounds what a fetch holds in memory. */
export const RANGES_OUTSTANDING_MAX = 4

/** Bytes in one frame; also the most a server holds for one stream beyond the store's own chunk. */
export const DATA_BYTES_MAX = 256 * KiB

/** Unread bytes of one fetch: the outstanding ranges and the headers of their frames. */
export const UNREAD_BYTES_MAX = RANGES_OUTSTANDING_MAX * (RANGE_BYTES_MAX + 4 * KiB)

/** A peer that is asked for bytes and sends none for this long is given up. */
export const STALL_TIMEOUT_MS = 15_000

/** A served stream on which nothing is asked for this long is closed. */
export const SERVE_IDLE_TIMEOUT_MS = 120_000

/** Idle streams are kept this long for the next fetch: less than the server's patience. */
export const STREAM_IDLE_TIMEOUT_MS = 30_000

/** A body that nobody begins to read is dropped after this time. */
export const BODY_START_TIMEOUT_MS = 60_000

/** Fetches from one peer at once; beyond it the caller gets OverloadedError. */
export const FETCHES_PER_PEER_MAX = 64

/** Streams served to one peer: closed ones linger for a round trip. */
export const STREAMS_SERVED_MAX = 2 * FETCHES_PER_PEER_MAX

/** Idle streams kept for one peer. */
export const STREAMS_IDLE_MAX = 8
