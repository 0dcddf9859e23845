import { CHUNK_BYTES } from './constants.ts'
import type { PackRecord } from './segment-writer.ts'
import { RECORD_HEADER_BYTES } from './pack-record.ts'

/** Where a blob lies. */
export interface BlobLocation {
  sizeBytes: number
  /** True: a file of its own, and the record holds its chunk hashes. */
  loose: boolean
  /** Segment of the record; 0 for a loose blob found without one. */
  segment: number
  /** Of the record's header. */
  offset: number
  sequence: number
}

const HASH_BYTES = 32

/** Chunk hashes and their seal; a blob of one chunk needs none, its own hash is that chunk's. */
export function chunkHashesBytes(sizeBytes: number): number {
  if (sizeBytes <= CHUNK_BYTES) return 0
  return (Math.ceil(sizeBytes / CHUNK_BYTES) + 1) * HASH_BYTES
}

/** What the record takes in its segment. */
export function recordBytes(location: BlobLocation): number {
  const { loose, sizeBytes } = location
  return RECORD_HEADER_BYTES + (loose ? chunkHashesBytes(sizeBytes) : sizeBytes)
}

export function locationOf(record: PackRecord): BlobLocation {
  const { segment, offset, sequence } = record
  return { sizeBytes: record.value, loose: record.kind === 'loose', segment, offset, sequence }
}

export function sameLocation(a: BlobLocation | undefined, b: BlobLocation): boolean {
  return a !== undefined && a.segment === b.segment && a.offset === b.offset
}
