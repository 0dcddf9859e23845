import { MiB } from '../../shared/limits.ts'

/** A question about one blob; a LAN round trip is under 10 ms. */
export const HAVE_TIMEOUT_MS = 2_000

/** A holder that receives slower than this is treated as failed and owed the blob. */
export const RECEIVE_BYTES_PER_SECOND_MIN = 1 * MiB

/** On top of the time that size allows: connecting, the fsyncs of a busy disk. */
export const RECEIVE_BASE_TIMEOUT_MS = 15_000

/** Blobs this node pulls at once, for readers and as a holder; each holds a few 1 MiB ranges. */
export const PULLS_MAX = 16

/** Callers that may wait for a pull; more are told to come back. */
export const PULLS_WAITING_MAX = 1_000

/** Copies being sent at once for all puts together, and those that may wait behind them. */
export const PUSHES_MAX = 64
export const PUSHES_WAITING_MAX = 10_000

/** After the quorum has acknowledged, the answer lingers this long for the third copy. */
export const STRAGGLER_WAIT_MS = 100

/** What is owed is tried again this often, and whenever a peer joins. */
export const REPAIR_INTERVAL_MS = 30_000

/** Blobs looked at in one round of repair, so that a long list does not hold up a stop. */
export const REPAIR_BATCH_BLOBS = 256

/** Blobs repaired at the same time; keeps repair from crowding out puts. */
export const REPAIRS_CONCURRENT_MAX = 4
