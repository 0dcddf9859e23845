/** How long a node waits for one peer's word on an address; a LAN round trip is under 10 ms. */
export const PEER_ANSWER_TIMEOUT_MS = 1_000

/** How long the coordinator waits for holders to store a record durably. */
export const STORE_TIMEOUT_MS = 3_000

/** A commit asks the holders once, then stores with them; this is both and some reserve. */
export const COMMIT_TIMEOUT_MS = PEER_ANSWER_TIMEOUT_MS + 2 * STORE_TIMEOUT_MS

/**
 * After the quorum has acknowledged, the answer lingers this long for the remaining holders, so
 * that a healthy mesh reads its own writes on every node. A dead holder costs this much once.
 */
export const STRAGGLER_WAIT_MS = 100

/** An unconditional write that loses a race is tried again on the new head this many times. */
export const WRITE_ATTEMPTS_MAX = 16

/** Heads kept in memory, half a KiB each. */
export const HEADS_MAX = 10_000

/** Records in one answer of a history or of a comparison; keeps a frame below 1 MiB. */
export const RECORDS_PER_FRAME_MAX = 64

/** Ends of chains in one page when two nodes compare what they hold. */
export const TIPS_PER_FRAME_MAX = 500

/** Holders that are given a newer record at once; others compare notes before long. */
export const REPAIRS_MAX = 32

/** Records from elsewhere that are looked into at once; the rest comes by comparing. */
export const BACKGROUND_MAX = 32

/** Forked addresses in one page; the holders of each are asked for its ends. */
export const CONFLICTS_PER_PAGE_MAX = 50

/** Missing predecessors are fetched at most this far back at once; the rest comes by comparing. */
export const BACKFILL_RECORDS_MAX = 10_000

/** Nodes compare their heads when a peer joins, and again this often. */
export const COMPARE_INTERVAL_MS = 30_000

/** A comparison that a peer did not answer to the end is made again after as long. */
export const COMPARE_RETRY_MS = 2_000

/** Nobody waits for a comparison, so a busy peer gets the time it needs for a page. */
export const COMPARE_TIMEOUT_MS = 10_000

/** Records put into the DHT wait here; when it is full the next comparison brings them again. */
export const ANNOUNCE_QUEUE_MAX = 10_000

/**
 * A put asks every near node twice, which is more than all else that a version of a busy thread
 * costs: its address is put once in this time, and a reader beyond the holders lags by so much.
 */
export const ANNOUNCE_REST_MS = 1_000

/** The mesh has formed by then; before it a put would reach nobody. */
export const ANNOUNCE_ALL_DELAY_MS = 30_000

/** Heads are put again well before the table's entries expire after 48 hours. */
export const ANNOUNCE_ALL_INTERVAL_MS = 20 * 60 * 60 * 1000

/** Heads queued at a time while all are put again, and the pause to look whether they are done. */
export const ANNOUNCE_ALL_PAGE = 200
export const ANNOUNCE_ALL_PAUSE_MS = 1_000

/** Records written to Postgres in one statement. */
export const INDEX_BATCH_RECORDS = 200

/** After a batch that was not full, before the next: a search lags behind by so much. */
export const INDEX_PAUSE_MS = 100

/** The indexer looks for new records this often even when nobody woke it. */
export const INDEX_INTERVAL_MS = 5_000

/** Longest pause between attempts while Postgres is away. */
export const INDEX_BACKOFF_MS_MAX = 15_000
