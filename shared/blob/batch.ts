import { InvalidRequestError } from '../errors.ts'
import { MiB } from '../limits.ts'

/**
 * Many small blobs in one body: for each its length in four bytes, the highest first, and then its
 * bytes. Nothing follows the last one.
 */
export const BLOB_BATCH_MEDIA_TYPE = 'application/vnd.bzzz.blobs'

/** Two group commits of the store; the answer for so many stays below 300 KiB. */
export const BATCH_BLOBS_MAX = 1_024

/** What a pack takes. Larger blobs gain nothing from company, and are put by themselves. */
export const BATCH_BLOB_BYTES_MAX = 1 * MiB

/** A batch is held in memory as a whole. */
export const BATCH_BYTES_MAX = 16 * MiB

const LENGTH_BYTES = 4

/** Whether blobs of these sizes make one batch. */
export function fitsBatch(sizes: readonly number[]): boolean {
  const bytes = sizes.reduce((sum, size) => sum + LENGTH_BYTES + size, 0)
  const isSmall = sizes.every((size) => size <= BATCH_BLOB_BYTES_MAX)
  return isSmall && sizes.length <= BATCH_BLOBS_MAX && bytes <= BATCH_BYTES_MAX
}

/** Cuts blobs into as few batches as the bounds allow, in order. Each fits one by itself. */
export function splitBatches<T extends Uint8Array>(blobs: readonly T[]): T[][] {
  const batches: T[][] = []
  let batch: T[] = []
  let bytes = 0
  for (const blob of blobs) {
    const more = LENGTH_BYTES + blob.byteLength
    if (batch.length === BATCH_BLOBS_MAX || (batch.length > 0 && bytes + more > BATCH_BYTES_MAX)) {
      batches.push(batch)
      batch = []
      bytes = 0
    }
    batch.push(blob)
    bytes += more
  }
  return batch.length > 0 ? [...batches, batch] : batches
}

export function encodeBatch(blobs: readonly Uint8Array[]): Buffer {
  const parts = blobs.flatMap((blob) => {
    const length = Buffer.alloc(LENGTH_BYTES)
    length.writeUInt32BE(blob.byteLength)
    return [length, blob]
  })
  return Buffer.concat(parts)
}

/** The blobs as views of `body`. @throws InvalidRequestError */
export function decodeBatch(body: Buffer): Buffer[] {
  const blobs: Buffer[] = []
  let at = 0
  while (at < body.length) {
    if (blobs.length === BATCH_BLOBS_MAX) {
      throw new InvalidRequestError(`A batch has at most ${BATCH_BLOBS_MAX} blobs.`)
    }
    if (at + LENGTH_BYTES > body.length) throw cut(blobs.length)
    const start = at + LENGTH_BYTES
    const end = start + body.readUInt32BE(at)
    if (end - start > BATCH_BLOB_BYTES_MAX) {
      throw new InvalidRequestError(
        `Blob ${blobs.length} is larger than ${BATCH_BLOB_BYTES_MAX} bytes: put it by itself.`,
      )
    }
    if (end > body.length) throw cut(blobs.length)
    blobs.push(body.subarray(start, end))
    at = end
  }
  if (blobs.length === 0) throw new InvalidRequestError('The batch has no blob.')
  return blobs
}

function cut(index: number): InvalidRequestError {
  return new InvalidRequestError(`The batch ends within blob ${index}.`)
}
