/** A readiness check that takes longer counts as failed: probes themselves give up after 3-5 s. */
export const READY_CHECK_TIMEOUT_MS = 2000

/** Retry-After of a 429: requests in flight end within milliseconds, or within the time-out. */
export const OVERLOADED_RETRY_SECONDS = 1

/** A caller that does not read gets this long to take the last bytes of a stream that is cut. */
export const CUT_FLUSH_MS = 1000

/** Default wait for requests in flight: Docker kills 10 s after SIGTERM unless told otherwise. */
export const DRAIN_TIMEOUT_MS = 8000

/** A stack of a hundred functions is below 100 KB; more than this is some other file. */
export const STACK_FILE_BYTES_MAX = 1024 * 1024

/** Where secrets are mounted: by OpenFaaS, and by Docker Swarm. */
export const SECRETS_DIRS = ['/var/openfaas/secrets', '/run/secrets'] as const

/** The drain is bounded by its own variables; this only catches one that hangs all the same. */
export const SERVE_STOP_TIMEOUT_MS = 600_000
