import { MiB } from '../../shared/limits.ts'

/** Events kept for readers that come back: minutes of a busy cluster, hours of a quiet one. */
export const EVENTS_KEPT_MAX = 4_096

/** Memory of those events; the oldest go first. */
export const EVENTS_KEPT_BYTES_MAX = 8 * MiB

/** Streams at once, and of one token: every tool of a team may listen, a leak does not fill it. */
export const STREAMS_MAX = 256
export const STREAMS_PER_TOKEN_MAX = 32

/** Events written to a stream at once; what is not read by then stays in the log, once for all. */
export const EVENTS_PER_WRITE_MAX = 32

/** Shorter than the idle time-outs of proxies; a dead reader is noticed and tokens are checked. */
export const HEARTBEAT_MS = 15_000

/** A reader that has taken nothing for this long, while there was something, is cut. */
export const STALL_MS = 30_000
export const STALL_CHECK_MS = 5_000

/** How long a reader waits before it connects again (`retry:`). */
export const RETRY_MS = 1_000

/** A reader that is refused for too many streams is told to come back in this time. */
export const STREAMS_RETRY_SECONDS = 5

/** How often new records are looked for, and how many are read at a time. */
export const RECORD_POLL_MS = 200
export const RECORDS_PER_POLL_MAX = 200

/** Replication is told of at most this often: thousands of repairs are one event. */
export const REPLICATION_POLL_MS = 1_000

/** Names in `?types=`; there are fewer types. */
export const TYPES_CHARS_MAX = 512
