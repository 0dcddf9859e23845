import { GiB, KiB, MiB } from '../../shared/limits.ts'

/** A range is verified by the chunks it touches. Part of the disk format: never change it. */
export const CHUNK_BYTES = 1 * MiB

/**
 * Blobs up to here go into a pack segment, larger ones into a file of their own. Packs put faster
 * up to 1 MiB (bench/store-threshold.ts); beyond one chunk a file keeps compaction from copying.
 */
export const PACK_BLOB_BYTES_MAX = CHUNK_BYTES

/** Payload of one record; also the window of a scan, so every record fits into one window. */
export const RECORD_PAYLOAD_BYTES_MAX = 4 * MiB

/** Largest blob: its chunk hashes still fit one record. */
export const BLOB_BYTES_MAX = 127 * GiB

/** A segment is closed when it has grown this far: compaction rewrites at most this at a time. */
export const SEGMENT_BYTES_MAX = 256 * MiB

/** One group commit: larger batches gain nothing and hold the oldest waiter up longer. */
export const BATCH_BYTES_MAX = 8 * MiB

/** What a crash can tear at the end of a segment: one batch being synced, one being written. */
export const UNSYNCED_BYTES_MAX = 2 * BATCH_BYTES_MAX

/** With so much waiting, copying the next batch is worth doing while the last one is synced. */
export const OVERLAP_BYTES_MIN = 1 * MiB

/** Zeros written ahead of small batches, in pieces of the least and never more than the most. */
export const PREALLOCATE_BYTES_MIN = 256 * KiB
export const PREALLOCATE_BYTES_MAX = 16 * MiB

/** Beyond this, writing everything twice costs more than the journal does. */
export const PREALLOCATE_BATCH_BYTES_MAX = 128 * KiB

/** Two buffers a record, and one writev takes at most 1,024 buffers. */
export const BATCH_RECORDS_MAX = 512

/** Puts that wait for a group commit hold their bytes in memory; more than this must wait. */
export const QUEUE_BYTES_MAX = 64 * MiB
export const QUEUE_RECORDS_MAX = 8192

/** Open files of segments that are read. The kernel allows 1,024 by default for everything. */
export const SEGMENT_FILES_OPEN_MAX = 128

/** Syncs of large files at a time: they occupy a thread of the four each, and reads need one. */
export const SYNCS_AT_ONCE_MAX = 3

/** So much of a large put goes to the disk while the rest arrives; smaller gains nothing. */
export const EARLY_SYNC_BYTES = 4 * MiB

/** Index entries of one SQLite transaction: more would hold the event loop up for 20 ms. */
export const INDEX_PENDING_MAX = 512

/** Longest time an entry waits for its transaction when nothing else happens. */
export const INDEX_FLUSH_MS = 200

/** Rows of a listing fetched in one query: short enough not to hold the event loop up. */
export const LIST_PAGE_ROWS = 500

/** How often a store that went read-only tries whether the disk takes writes again. */
export const PROBE_INTERVAL_MS = 2000

/** What a probe writes: enough that a full disk with a few free blocks is still full. */
export const PROBE_BYTES = 1 * MiB

/** Records collected before a rebuild sorts and inserts them: about 40 MiB of memory. */
export const REBUILD_BATCH_RECORDS = 100_000

/** Threads that hash what is read; two of them hash faster than any disk here reads. */
export const HASH_WORKERS_MAX = 2

/** From here on hashing takes longer than the way to another thread and back, about 50 us. */
export const HASH_OFF_THREAD_BYTES_MIN = 512 * KiB

/** Chunks read ahead of the consumer of a large blob: hashing and reading overlap. */
export const READ_AHEAD_CHUNKS = 2

/** Copies of a compaction are written in pieces of this size. */
export const COMPACT_WRITE_BYTES = 4 * MiB

/** Segments smaller than this share of the largest are merged when there are several. */
export const SEGMENT_SMALL_SHARE = 1 / 8

/** A segment is worth compacting when this share of it is garbage. */
export const COMPACT_GARBAGE_SHARE_MIN = 0.5

/** Shorter reads get memory of their own: it costs little, and half of this is wasted at most. */
export const POOLED_BUFFER_BYTES_MIN = 16 * KiB

/** Memory kept for the next reads: some readers of large blobs, many of small ones. */
export const POOLED_BYTES_MAX = 16 * MiB
