import { KiB, MiB } from '../shared/limits.ts'

/** Topics a connector works on, calls and callbacks included; each holds a connection. */
export const WORKERS_MAX = 16

/** How often finished jobs beyond their number are removed. */
export const TRIM_INTERVAL_MS = 30_000

/** Pause before the gateway is asked again after it did not answer. */
export const POLL_RETRY_MS = 1_000

/** The list of functions is below 100 KB; a gateway that takes longer is away. */
export const POLL_TIMEOUT_MS = 5_000

/** Connections to the gateway; a call in hand keeps one. */
export const GATEWAY_CONNECTIONS_MAX = 256

/** A gateway on the network answers a connect in milliseconds. */
export const CONNECT_TIMEOUT_MS = 2_000

/** A job that found the gateway away is taken up again after this, and as much by chance. */
export const GATEWAY_AWAY_DELAY_MS = 1_000

/** A topic that lost its last function a moment ago; it may be deployed anew. */
export const NO_FUNCTION_DELAY_MS = 5_000

/** A result that could not be announced, because the queue was away in that moment. */
export const ANNOUNCE_AGAIN_MS = 1_000

/** How soon a job that runs notices that it is to end. Short jobs never look. */
export const CANCEL_POLL_MS = 1_000

/** Reports of progress are written to the queue no more often than this. */
export const PROGRESS_INTERVAL_MS = 500

/** A body up to this lies in the queue with its job; a larger one becomes a blob. */
export const RESULT_INLINE_BYTES_MAX = 256 * KiB

/** A larger answer is not kept: what is this large is put into a blob by the function itself. */
export const RESULT_BYTES_MAX = 8 * MiB

/** Longest line of a report: the last one carries the whole result. */
export const PROGRESS_LINE_BYTES_MAX = 2 * MiB

/** As much of a function's own words as the reason of a failure shows. */
export const REASON_BODY_CHARS_MAX = 300

/** A receiver of callbacks has this long to answer. */
export const CALLBACK_TIMEOUT_MS = 30_000

/** Callbacks delivered at once. */
export const CALLBACK_CONCURRENCY = 8
