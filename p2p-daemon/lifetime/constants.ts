import { MiB } from '../../shared/limits.ts'

/** A peer that has not acknowledged a claim by then is away; it learns of it by comparing. */
export const CLAIM_PUSH_TIMEOUT_MS = 3_000

/** After a quorum has acknowledged, the answer waits this long for the others. */
export const STRAGGLER_WAIT_MS = 100

/** Claims in one message; with the longest texts that is half of what a message may have. */
export const CLAIMS_PER_MESSAGE_MAX = 200

/** Nodes compare claims when a peer joins and again this often. */
export const COMPARE_INTERVAL_MS = 30_000

/**
 * How long it is remembered that a claim was taken back. A node that was away for longer may bring
 * a pin back to life, which keeps too much and never too little.
 */
export const TOMBSTONE_KEEP_MS = 90 * 86_400_000

/** A lease or hold that has expired is forgotten after this; clocks differ by far less. */
export const EXPIRED_KEEP_MS = 86_400_000

/** Claims that one node keeps, so that a client gone wild cannot fill the disk. */
export const CLAIMS_MAX = 1_000_000

/** Names of holds and ids of leases are short; people read them in lists. */
export const CLAIM_KEY_CHARS_MAX = 128

/** Who and why, for people. */
export const CLAIM_TEXT_CHARS_MAX = 512

/** A lease or hold is for work in progress: what should stay for longer is pinned. */
export const CLAIM_TTL_MS_MAX = 30 * 86_400_000

/** Roots in one answer: 8,192 hashes are 350 KB of base64, below the 1 MiB of a message. */
export const ROOTS_PER_PAGE_MAX = 8_192

/** Heads of threads read for one page of roots, and how many of them at once. */
export const HEADS_PER_PAGE = 1_024
export const HEADS_READ_AT_ONCE_MAX = 16

/** A member answers a page of roots within this or the collection ends without deleting. */
export const ROOTS_TIMEOUT_MS = 30_000

/** Root sources one member may name, and the length of a cursor into one. */
export const SOURCES_MAX = 32
export const SOURCE_CURSOR_CHARS_MAX = 256

/** Marks one collection may hold: 8 bytes each at most half full, so 1 GiB. More is refused. */
export const MARKS_MAX = 64 * MiB

/** Blobs compared with the marks in one transaction: about 10 ms of the event loop. */
export const WALK_PAGE_BLOBS = 500

/** Blobs deleted at once; their tombstones share a sync of the disk. */
export const SWEEP_PAGE_BLOBS = 100

/** Longest sleep in one piece: timers of Node end at 24 days. */
export const PAUSE_MS_MAX = 3_600_000

/** Examples in the answer of a dry run: enough to recognise what would go. */
export const EXAMPLES_MAX = 20

/**
 * A quarter of the grace for the run from its first root to its last deletion, a quarter for which
 * a touch counts as fresh, and half for the write that follows it: together they stay below it.
 */
export const GRACE_SHARE = 0.25

/** Whether a peer holds a blob, as one of several asked at once. */
export const TOUCH_TIMEOUT_MS = 2_000

/** Blobs remembered as touched on their holders; 100 bytes each. */
export const TOUCHED_MAX = 50_000

/** Usage learned from a peer in one message: 600 bytes a row at most. */
export const USAGE_ROWS_PER_MESSAGE_MAX = 1_000

/** Rows of one's own records taken into the usage in one transaction. */
export const USAGE_BATCH_ROWS = 2_000

/** A write that was admitted and never seen gives its bytes back after this. */
export const RESERVATION_TTL_MS = 600_000

/** Reservations outstanding on one node; writes beyond it wait for a retry. */
export const RESERVATIONS_MAX = 100_000

/** The node that keeps a project's account answers within this or the next one is asked. */
export const QUOTA_TIMEOUT_MS = 2_000

/** How often quotas.json is looked at. */
export const QUOTA_POLL_MS = 1_000
