import { randomBytes } from 'node:crypto'

import type { BlobRead, BlobStore, ReadOptions } from '../../p2p-daemon/store/blob-store.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import { BlobNotFoundError } from '../../shared/errors.ts'
import { KiB, MiB } from '../../shared/limits.ts'

export const BIG_BYTES = 256 * MiB
export const SMALL_BYTES = 64 * KiB
export const SMALL_COUNT = 1_000

/** What moves in one measurement: places in the payload and the hashes that must come out. */
export interface Work {
  blobs: { hash: string; start: number; length: number }[]
}

export interface Payload {
  bytes: Buffer
  big: Work
  small: Work
}

/** 256 MiB that do not repeat, as one blob, and the first of them cut into a thousand. */
export function createPayload(): Payload {
  const bytes = Buffer.allocUnsafeSlow(BIG_BYTES)
  for (let at = 0; at < BIG_BYTES; at += MiB) randomBytes(MiB).copy(bytes, at)
  const blob = (start: number, length: number) => ({
    hash: hashBytes(bytes.subarray(start, start + length)),
    start,
    length,
  })
  const places = Array.from({ length: SMALL_COUNT }, (_, index) => index * SMALL_BYTES)
  return {
    bytes,
    big: { blobs: [blob(0, BIG_BYTES)] },
    small: { blobs: places.map((start) => blob(start, SMALL_BYTES)) },
  }
}

/**
 * The payload as a blob store that reads without a disk and without checking: it is the way
 * between two nodes that is measured, and its peers check nothing on the sending side either.
 */
export function payloadStore(payload: Payload): Pick<BlobStore, 'get'> {
  const blobs = [...payload.big.blobs, ...payload.small.blobs]
  const places = new Map(blobs.map((blob) => [blob.hash, blob]))
  return {
    get: async (hash: string, options: ReadOptions = {}): Promise<BlobRead> => {
      const place = places.get(hash)
      if (!place) throw new BlobNotFoundError(`There is no blob ${hash} here.`)
      const { start = 0, end = place.length - 1 } = options
      const last = Math.min(end, place.length - 1)
      const bytes = payload.bytes.subarray(place.start + start, place.start + last + 1)
      return { hash, sizeBytes: place.length, start, end: last, body: once(bytes) }
    },
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
