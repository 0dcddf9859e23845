import type { Startable } from '../../shared/lifecycle.ts'

export interface PutOptions {
  /** Refuse with HashMismatchError unless the bytes have this hash. Nothing is stored then. */
  expectedHash?: string
  /** Refuse with UploadCutError unless exactly this many bytes arrive. */
  expectedSizeBytes?: number
  /** Refuse with BodyTooLargeError as soon as more than this has arrived. */
  sizeBytesMax?: number
  /**
   * Called with chunks of the source that the put has no more use for, so that their memory may
   * hold something else. What it is not called with is left to the garbage collector.
   */
  onTaken?: (chunk: Uint8Array) => void
  signal?: AbortSignal
}

export interface PutResult {
  hash: string
  sizeBytes: number
  /** True when the blob was already here; nothing was written. */
  existed: boolean
}

export interface ReadOptions {
  /** First byte, inclusive. Default 0. */
  start?: number
  /** Last byte, inclusive (as in HTTP Range). Default: the end. */
  end?: number
  signal?: AbortSignal
}

export interface BlobRead {
  hash: string
  /** Size of the whole blob, whatever range was asked for. */
  sizeBytes: number
  start: number
  end: number
  /** Verified chunks in order. Closing the iterator early releases the file. */
  body: AsyncIterable<Uint8Array>
  /**
   * Says that nobody uses this chunk of the body any more, so that the next may have its memory:
   * its bytes change then. Nothing is lost but speed when it is never called.
   */
  release?: (chunk: Uint8Array) => void
}

export interface BlobStat {
  hash: string
  sizeBytes: number
}

export interface DeleteOptions {
  /** Asked in the turn in which the deletion is decided. False: the blob stays. */
  onlyIf?: () => boolean
}

export interface VerifyOptions {
  signal?: AbortSignal
  /** Told of the bytes read so far since the last call, and waited for before more are read. */
  pace?: (bytes: number) => Promise<void>
}

/**
 * Blobs by BLAKE3 hash.
 *
 * A `put` that resolved survives kill -9 and power loss. A `get` never yields bytes that were not
 * verified against the hash: a bad copy is quarantined, reported through `onCorrupt`, and reads as
 * BlobCorruptError. Concurrent puts of the same blob are one blob.
 */
export interface BlobStore extends Startable {
  put(source: AsyncIterable<Uint8Array> | Uint8Array, options?: PutOptions): Promise<PutResult>
  /** @throws BlobNotFoundError, BlobCorruptError, RangeNotSatisfiableError */
  get(hash: string, options?: ReadOptions): Promise<BlobRead>
  stat(hash: string): Promise<BlobStat | undefined>
  /** As `stat`, but counts as a put of the same bytes: whoever watches puts is told. */
  touch(hash: string): Promise<BlobStat | undefined>
  /**
   * Tells `listener` of every put and touch, before the store looks whether the blob is here. From
   * that turn on a deletion either was decided before, and then the put waits and stores the bytes
   * again, or asks its `onlyIf` after the listener has been told.
   */
  watchPuts(listener: (hash: string) => void): void
  /** Resolves to false when the blob was not here or `onlyIf` said no. */
  delete(hash: string, options?: DeleteOptions): Promise<boolean>
  /** In hash order, so that a listing can be resumed after the last hash seen. */
  list(options?: { after?: string; limit?: number; signal?: AbortSignal }): AsyncIterable<BlobStat>
  /** Count and bytes of what is stored, without the overhead of the layout. */
  usage(): Promise<{ blobs: number; bytes: number }>
  /** Reads the whole copy and checks it. False: it was bad and is now in quarantine. */
  verify(hash: string, options?: VerifyOptions): Promise<boolean>
}
