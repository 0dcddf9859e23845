import { MiB } from '../../shared/limits.ts'

/** Bytes of batches held in memory at once: four of the largest, or very many of the usual. */
export const BATCHES_BYTES_MAX = 64 * MiB

/** Blobs of batches stored at once; their copies to two nodes each still fit PUSHES_WAITING_MAX. */
export const BATCHES_BLOBS_MAX = 4_096

/** A batch is stored within this, unless the disk is busy. */
export const BATCHES_RETRY_SECONDS = 1

/** Batches read at once, each held in memory as a whole, and those that wait for their turn. */
export const BATCH_READS_AT_ONCE_MAX = 3
export const BATCH_READS_WAITING_MAX = 64
/** Blobs of one batch read at once; a copy that is elsewhere is fetched meanwhile. */
export const BATCH_BLOBS_READ_AT_ONCE_MAX = 32
