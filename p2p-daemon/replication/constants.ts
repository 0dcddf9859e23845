import { KiB, MiB } from '../../shared/limits.ts'

/** Seeds of nodes kept for placement: more than any cluster has nodes. */
export const NODE_SEEDS_MAX = 4_096

/** How often weights, zones and absences are looked at; joins and leaves are seen at once. */
export const MEMBERS_TICK_MS = 1_000

/** A question about blobs; a LAN round trip is under 10 ms. */
export const HAVE_TIMEOUT_MS = 2_000

/** Hashes in one question; 1,000 of them are 67 KB, well below a message. */
export const WHICH_HASHES_MAX = 1_000

/** A holder that receives slower than this is treated as failed and owed the blob. */
export const RECEIVE_BYTES_PER_SECOND_MIN = 1 * MiB

/** On top of the time that size allows: connecting, the fsyncs of a busy disk. */
export const RECEIVE_BASE_TIMEOUT_MS = 15_000

/** A holder that has not acknowledged after this, plus what size allows, gets a stand-in. */
export const HANDOFF_AFTER_MS = 2_000

/** Stand-ins tried for one holder that is away, one after the other. */
export const STAND_INS_MAX = 3

/** Blobs this node pulls at once, for readers and as a holder; each holds a few 1 MiB ranges. */
export const PULLS_MAX = 16

/** Callers that may wait for a pull; more are told to come back. */
export const PULLS_WAITING_MAX = 1_000

/** How long the table is searched for holders of a blob that nobody asked has. */
export const PROVIDERS_TIMEOUT_MS = 1_000

/** Nodes tried for one blob. Clusters have at most thirty. */
export const PULL_SOURCES_MAX = 32

/** A source that has not begun to answer after this is joined by the next one. */
export const HEDGE_DELAY_MS = 200

/** Copies found bad while one body is read; each costs a pull before the reading goes on. */
export const READ_REPAIRS_MAX = 2

/** Copies being sent at once for all puts together, and those that may wait behind them. */
export const PUSHES_MAX = 64
export const PUSHES_WAITING_MAX = 10_000

/**
 * Blobs up to this size are sent to their holders many in a message; what is larger is pulled in
 * ranges, each held back until there is room for it.
 */
export const PUSHED_BLOB_BYTES_MAX = 64 * KiB

/** Copies in one message: some more than a group commit of small records takes. */
export const COPIES_PER_MESSAGE_MAX = 1_000

/** What says of one copy what it is: its hash, a peer id, the JSON around them, its length. */
export const COPY_HEAD_BYTES_MAX = 256

/** Messages with copies on their way to one peer: one is written there while one travels. */
export const PUSH_MESSAGES_MAX = 2

/** Copies that wait for one peer, in memory; beyond it a stand-in or a later repair takes over. */
export const PUSHED_WAITING_BYTES_MAX = 32 * MiB

/** After the quorum has acknowledged, the answer lingers this long for the third copy. */
export const STRAGGLER_WAIT_MS = 100

/** A job for a copy that is still on its way waits this long for it to arrive by itself. */
export const STRAGGLER_JOB_DELAY_MS = 5_000

/** What is learnt of copies is written behind puts, this often or when so many blobs wait. */
export const LEDGER_FLUSH_MS = 5_000
export const LEDGER_PENDING_MAX = 20_000

/** Blobs in one transaction: a few milliseconds, between which others get their turn. */
export const LEDGER_BATCH_BLOBS = 500

/** Jobs that nobody waits for are written this much later, many in one transaction. */
export const QUEUE_FLUSH_MS = 500

/** While the disk takes no jobs: how often they are tried again, and how many are kept for it. */
export const QUEUE_RETRY_MS = 2_000
export const QUEUE_UNWRITTEN_MAX = 10_000

/** Blobs repaired at the same time; keeps repair from crowding out puts. */
export const REPAIRS_CONCURRENT_MAX = 4

/** The queue is looked at this often even when nothing wakes the worker. */
export const REPAIR_POLL_MS = 30_000

/** First pause after a failed repair; doubles up to the maximum, with jitter. */
export const REPAIR_BACKOFF_MIN_MS = 1_000
export const REPAIR_BACKOFF_MAX_MS = 600_000

/** Bytes a pause may save up for later: one second's worth, so a limit is not overrun by bursts. */
export const BUCKET_SECONDS_MAX = 1

/** A copy that does not belong here (read through this node, put here) stays this long. */
export const SURPLUS_KEEP_MS = 600_000

/** A node that confirmed its copy to one who drops theirs keeps it for at least this long. */
export const PROMISE_MS = 60_000

/** Promises outstanding; beyond it none is given, and whoever asked keeps the copy for now. */
export const PROMISES_MAX = 100_000

/** Blobs placed and asked about in one go; about a millisecond of computing. */
export const SCAN_PAGE_BLOBS = 500

/** Between two pages: leaves the processor and the peers to those who wait for an answer. */
export const SCAN_PAUSE_MS = 20

/** After a page that a peer did not answer, and while the queue is full. */
export const SCAN_RETRY_MS = 1_000

/** Jobs due beyond which the scan waits: it would only pile up more. */
export const SCAN_QUEUE_MAX = 10_000

/** Everything is looked at again this often, whether anything is known to have changed or not. */
export const SCAN_INTERVAL_MS = 86_400_000

/** Corrupt copies reported before anybody can repair them; the scans of others find the rest. */
export const EARLY_REPORTS_MAX = 10_000
