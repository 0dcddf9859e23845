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

/** Application protocol of the bulk port, agreed on in the TLS handshake. */
export const BULK_PROTOCOL = 'bzzz-bulk/1'

/** Ports tried in order when none is configured: the range that firewalls let through. */
export const BULK_PORT_FIRST = 9200
export const BULK_PORT_LAST = 9300

/** TCP, TLS and identity of a connection: a few round trips, so a second over a poor line. */
export const BULK_CONNECT_TIMEOUT_MS = 3_000

/** Ranges that one fetch has asked for and not read: 8 MiB fill 1 Gbit/s at 60 ms. */
export const BULK_RANGES_OUTSTANDING_MAX = 8

/** Ranges beyond the first of each fetch, over all fetches of one connection. */
export const BULK_RANGES_AHEAD_MAX = 32

/** Ranges asked for on one connection: twice the above, cancelled ones linger a round trip. */
export const BULK_RANGES_PER_CONNECTION_MAX = 2 * (FETCHES_PER_PEER_MAX + BULK_RANGES_AHEAD_MAX)

/** Ranges of one connection read from the store at a time: reading and sending overlap. */
export const BULK_RANGES_SERVED_MAX = 4

/** A connection with as much waiting to be sent takes nothing from the store. */
export const BULK_SEND_BUFFER_BYTES_MAX = 256 * KiB

/** Unsent bytes beyond which a peer that asks for more is cut: several times what is normal. */
export const BULK_UNSENT_BYTES_MAX = 4 * MiB

/** Data are written together with others up to this length, and without a copy above it. */
export const COALESCED_BYTES_MAX = 64 * KiB

/** Connections served to all peers together, handshakes included, and to a single one. */
export const BULK_CONNECTIONS_MAX = 256
export const BULK_CONNECTIONS_PER_PEER_MAX = 4

/** A connection that is silent this long is asked whether it still lives. */
export const BULK_KEEP_ALIVE_MS = 10_000

/** A connection over which nothing is fetched this long is closed. */
export const BULK_IDLE_TIMEOUT_MS = 300_000

/** A range that gets no bytes for this many stall times fails although others get some. */
export const BULK_RANGE_STALLS_MAX = 4

/** A node that stops lets the ranges it is sending end, for as long. */
export const BULK_DRAIN_TIMEOUT_MS = 2_000

/** A bulk port that failed is left alone for as long, unless the peer comes back before. */
export const BULK_PORT_RETRY_MS = 60_000

/** Times a transfer is taken up again without a byte of progress in between. */
export const RESUMES_MAX = 2
