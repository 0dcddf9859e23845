/** A readiness check that takes longer counts as failed: probes themselves give up after 3-5 s. */
export const READY_CHECK_TIMEOUT_MS = 2000

/** Retry-After of a 429: requests in flight end within milliseconds, or within the time-out. */
export const OVERLOADED_RETRY_SECONDS = 1

/** A caller that does not read gets this long to take the last bytes of a stream that is cut. */
export const CUT_FLUSH_MS = 1000

/** What a proxy logs for a caller that left before the answer; never sent to anybody. */
export const STATUS_CALLER_LEFT = 499

/** Default wait for requests in flight: Docker kills 10 s after SIGTERM unless told otherwise. */
export const DRAIN_TIMEOUT_MS = 8000
