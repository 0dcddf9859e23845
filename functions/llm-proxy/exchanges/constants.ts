import { KiB, MiB } from '../../../shared/limits.ts'

/** Memory for bodies of exchanges that go on or wait to be stored. */
export const RECORD_BYTES_DEFAULT = 64 * MiB

/** A body that is longer is not kept. */
export const BODY_BYTES_MAX = 32 * MiB

/** Exchanges that ended and wait to be stored, about 2 KiB each beside their bodies. */
export const EXCHANGES_WAITING_MAX = 10_000

/** Ended exchanges are gathered this long, or until a write is full, so that many share one. */
export const GATHER_MS = 250

/** So much is redacted and hashed in one go: some 0.3 ms, for which calls wait. */
export const DESCRIBED_EXCHANGES_MAX = 32
export const DESCRIBED_BYTES_MAX = 64 * KiB

/** Stored in one go; more wait for the next. */
export const WRITE_EXCHANGES_MAX = 512
export const WRITE_BYTES_MAX = 12 * MiB

/** A batch takes in exchanges that begin within this. */
export const BATCH_OPEN_MS = 10_000

/** Batches remembered because exchanges of them still go on; the oldest is given up. */
export const BATCHES_MAX = 2_000

/** Pauses after a failure, doubled up to the second. */
export const RETRY_MS = 250
export const RETRY_MS_MAX = 5_000

/** One write of blobs and names. */
export const WRITE_TIMEOUT_MS = 30_000

/** A process that ends waits this long for what is not stored yet. */
export const STOP_TIMEOUT_MS = 5_000

/** Bytes of a stream come in small pieces; they are copied together up to this. */
export const PAGE_BYTES = 16 * KiB

/** A piece of this size is kept as it is. */
export const PIECE_BYTES_MIN = 4 * KiB

/** Redaction rules of one file. */
export const REDACTIONS_MAX = 100
