import { KiB, MiB } from '../limits.ts'

/** Attempts of a job unless its function says otherwise; with the back-off they span 10 minutes. */
export const ATTEMPTS_DEFAULT = 8
/** More would be asked for ten times an hour for a week. */
export const ATTEMPTS_MAX = 50

/** Back-off before the n-th retry: 1 s, 2 s, 4 s ... at most 5 min, half of it by chance. */
export const BACKOFF_FIRST_MS = 1_000
export const BACKOFF_MS_MAX = 300_000
export const BACKOFF_JITTER = 0.5

/** A function may ask for a longer pause by Retry-After; beyond a day it is a mistake. */
export const RETRY_AFTER_MS_MAX = 86_400_000

/** A delay beyond this belongs into a schedule. */
export const DELAY_MS_MAX = 30 * 86_400_000

/** Priorities go from 0, which goes first, to this. */
export const PRIORITY_MAX = 100

/** Children of one flow; they are added in one statement. */
export const CHILDREN_MAX = 256

/** Waiting jobs of one topic. More is a consumer that is not there; then 429. */
export const WAITING_MAX = 100_000
/** How old the count behind that limit may be: many jobs a second must not count each time. */
export const WAITING_COUNT_TTL_MS = 1_000

/** Body of one job. It lies in the queue's database; more belongs into a blob. */
export const JOB_BODY_BYTES_MAX = 1 * MiB

/** Headers of one job, kept with it. A token and a trace are far below. */
export const JOB_HEADERS_BYTES_MAX = 16 * KiB

/** Finished jobs are kept this long, to be asked for and to recognise a repeated key. */
export const KEEP_COMPLETED_SECONDS = 86_400
export const KEEP_FAILED_SECONDS = 14 * 86_400
/** And no more than about this of each topic; looked at now and then. */
export const KEEP_COMPLETED_MAX = 10_000
export const KEEP_FAILED_MAX = 10_000

/** Removed at once, so that no statement holds the queue for long. */
export const TRIM_MAX = 1_000

/** A worker that stops renewing its lock is taken for dead after this. */
export const LOCK_MS = 30_000

/**
 * How often a job may lose its worker before it counts as failed. A crash of the connector is no
 * fault of the job, so this only ends a job that takes the connector down each time.
 */
export const STALLS_MAX = 500

/** An operation on the queue that takes longer is given up: the caller gets 503. */
export const OPERATION_TIMEOUT_MS = 5_000

/** Pause of a worker after a failed look into the queue. */
export const WORKER_RETRY_MS = 500

/** Connections to Postgres of a process that only submits and looks. */
export const POOL_CONNECTIONS_MAX = 4

/** A topic name is a label, so that it can stand in ids, URLs and metrics. */
export const TOPIC_CHARS_MAX = 63
