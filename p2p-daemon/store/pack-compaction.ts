import { StorageUnavailableError } from '../../shared/errors.ts'
import { locationOf, sameLocation } from './blob-location.ts'
import type { BlobReader } from './blob-reader.ts'
import { ChunkHashes } from './chunk-hashes.ts'
import { COMPACT_WRITE_BYTES, SEGMENT_SMALL_SHARE } from './constants.ts'
import { type DiskFile, isDiskError, shortWrite } from './disk-files.ts'
import type { PackLog } from './pack-log.ts'
import type { PackRecord } from './segment-writer.ts'
import { cutSegment, encodeRecordHeader, SEGMENT_HEADER_BYTES } from './pack-record.ts'
import { scanSegment } from './pack-scan.ts'
import type { PackSegments } from './pack-segments.ts'
import type { PrimaryIndex } from './primary-index.ts'

export interface CompactionResult {
  segmentsRemoved: number
  reclaimedBytes: number
}

interface Components {
  index: PrimaryIndex
  segments: PackSegments
  packLog: PackLog
  reader: BlobReader
}

interface Candidate {
  segment: number
  sizeBytes: number
  liveBytes: number
}

/** Records between two turns of the event loop, about a millisecond of index work. */
const RECORDS_A_TURN = 128

/**
 * Gives the space of dead records back: copies what lives in some segments into a new one, then
 * removes them. What a crash leaves: before the new segment has its name, nothing (it is swept);
 * before the index has moved, a second copy that the next start finds outdated; before the old
 * segment is unlinked, the same the other way round. No step removes the only copy of anything.
 */
export class PackCompaction {
  readonly #components: Components
  readonly #segmentBytesMax: number

  constructor(components: Components, init: { segmentBytesMax: number }) {
    this.#components = components
    this.#segmentBytesMax = init.segmentBytesMax
  }

  /** @throws StorageUnavailableError when the disk has no room for the copies */
  async run(options: {
    garbageShareMin: number
    signal?: AbortSignal | undefined
  }): Promise<CompactionResult> {
    const result: CompactionResult = { segmentsRemoved: 0, reclaimedBytes: 0 }
    try {
      await this.#removeRetired()
      for (const group of await this.#groups(options.garbageShareMin)) {
        options.signal?.throwIfAborted()
        const keptBytes = await this.#compact(group, options.signal)
        result.segmentsRemoved += group.length
        for (const { sizeBytes } of group) result.reclaimedBytes += sizeBytes
        result.reclaimedBytes -= keptBytes
      }
    } catch (error) {
      if (!isDiskError(error)) throw error
      throw new StorageUnavailableError('The disk refused a compaction.', { cause: error })
    }
    return result
  }

  /** Segments whose unlink failed. While one is there, tombstones for it must not be dropped. */
  async #removeRetired(): Promise<void> {
    const { index, segments } = this.#components
    const present = new Set(await segments.list())
    for (const [segment, state] of index.segments()) {
      if (segment === 0 || state.indexedBytes > 0) continue
      if (present.has(segment)) await segments.remove(segment)
      index.removeSegment(segment)
    }
  }

  /** What is worth it, in groups whose live records fit one segment. */
  async #groups(garbageShareMin: number): Promise<Candidate[][]> {
    const candidates: Candidate[] = []
    const small: Candidate[] = []
    for (const candidate of await this.#sealed()) {
      const garbage = candidate.sizeBytes - SEGMENT_HEADER_BYTES - candidate.liveBytes
      const share = garbage / candidate.sizeBytes
      if (candidate.liveBytes === 0 || share >= garbageShareMin) candidates.push(candidate)
      else if (candidate.sizeBytes < this.#segmentBytesMax * SEGMENT_SMALL_SHARE) {
        small.push(candidate)
      }
    }
    if (small.length > 1) candidates.push(...small)
    const groups: Candidate[][] = []
    let room = 0
    for (const candidate of candidates) {
      if (candidate.liveBytes > room || groups.length === 0) {
        groups.push([])
        room = this.#segmentBytesMax
      }
      groups.at(-1)?.push(candidate)
      room -= candidate.liveBytes
    }
    return groups
  }

  async #sealed(): Promise<Candidate[]> {
    const { index, segments, packLog } = this.#components
    const sealed: Candidate[] = []
    for (const segment of await segments.list()) {
      const state = index.segments().get(segment)
      if (segment === packLog.activeSegment || state === undefined) continue
      const sizeBytes = await segments.sizeBytes(segment)
      sealed.push({ segment, sizeBytes, liveBytes: state.liveBytes })
    }
    return sealed
  }

  /** Resolves to the size of the new segment. */
  async #compact(group: readonly Candidate[], signal: AbortSignal | undefined): Promise<number> {
    const { index, segments, packLog } = this.#components
    const target = packLog.takeSegmentNumber()
    const output = new CopyOutput(await segments.createUnfinished(target))
    let named = false
    try {
      for (const { segment } of group) await this.#copy(segment, output, signal)
      const copied = output.sizeBytes > SEGMENT_HEADER_BYTES
      if (copied) {
        await output.finish()
        await segments.finish(target)
        named = true
        await this.#adopt(target, output, new Set(group.map(({ segment }) => segment)))
      }
    } finally {
      await output.file.close()
      if (!named) await segments.abandon(target)
    }
    for (const { segment } of group) {
      await this.#relocateRest(segment)
      index.retireSegment(segment)
      await segments.remove(segment)
      index.removeSegment(segment)
    }
    return named ? output.sizeBytes : 0
  }

  /** Appends what still counts in the segment, as it is: the sequence says how old it is. */
  async #copy(segment: number, output: CopyOutput, signal: AbortSignal | undefined): Promise<void> {
    const { segments, index } = this.#components
    const present = new Set(await segments.list())
    const cutBytes = index.segments().get(segment)?.cutBytes
    const file = await segments.open(segment, 'read')
    try {
      const header = await segments.header(file)
      if (header === undefined) return
      const to = Math.min(await file.sizeBytes(), cutBytes ?? Number.MAX_SAFE_INTEGER)
      const from = SEGMENT_HEADER_BYTES
      const init = { segment, salt: header.salt, from, to, verifyFrom: from, withPayloads: true }
      let count = 0
      await scanSegment(file, { ...init, ...(signal && { signal }) }, (record, payload) => {
        count += 1
        if (this.#counts(record, payload, present)) return output.append(record, payload)
        return count % RECORDS_A_TURN === 0 ? turn() : undefined
      })
    } finally {
      await file.close()
    }
  }

  #counts(record: PackRecord, payload: Buffer, present: ReadonlySet<number>): boolean {
    const { index } = this.#components
    if (record.kind === 'cut') return present.has(cutSegment(record.hash))
    if (record.kind === 'tombstone') {
      return index.isTombstoneNeeded(record.hash, record.value, record.segment)
    }
    if (!sameLocation(index.get(record.hash), locationOf(record))) return false
    const loose = record.kind === 'loose'
    return !loose || ChunkHashes.decode(record.hash, record.value, payload) !== undefined
  }

  /** Reads the copies back before the originals go, and points the index at them. */
  async #adopt(target: number, output: CopyOutput, from: ReadonlySet<number>): Promise<void> {
    const { index } = this.#components
    const range = { from: SEGMENT_HEADER_BYTES, to: output.sizeBytes }
    const init = { segment: target, salt: output.salt, ...range, verifyFrom: range.from }
    let count = 0
    const scanned = await scanSegment(output.file, init, (record) => {
      if (record.kind === 'blob' || record.kind === 'loose') {
        index.move(record.hash, from, locationOf(record))
      }
      count += 1
      return count % RECORDS_A_TURN === 0 ? turn() : undefined
    })
    index.setIndexed(target, scanned.validBytes)
  }

  /**
   * Live records that the scan could not read: a damaged header, damaged chunk hashes, damaged
   * content. Each is read through the index, which quarantines what is bad, and appended anew.
   */
  async #relocateRest(segment: number): Promise<void> {
    const { index, reader } = this.#components
    if (index.segments().get(segment)?.liveBytes === 0) return
    for (const hash of index.hashesIn(segment)) await reader.relocate(hash, segment)
  }
}

/** The new segment while it is filled; writes are gathered. */
class CopyOutput {
  readonly file: DiskFile
  readonly salt: Buffer
  #buffers: Buffer[] = []
  #bufferedBytes = 0
  #writtenBytes = SEGMENT_HEADER_BYTES

  constructor(created: { file: DiskFile; salt: Buffer }) {
    this.file = created.file
    this.salt = created.salt
  }

  get sizeBytes(): number {
    return this.#writtenBytes + this.#bufferedBytes
  }

  append(record: PackRecord, payload: Buffer): Promise<void> | undefined {
    const header = encodeRecordHeader(record, this.salt)
    this.#buffers.push(header, Buffer.from(payload))
    this.#bufferedBytes += header.byteLength + payload.byteLength
    return this.#bufferedBytes >= COMPACT_WRITE_BYTES ? this.#write() : undefined
  }

  async finish(): Promise<void> {
    await this.#write()
    await this.file.datasync()
  }

  async #write(): Promise<void> {
    const bytes = Buffer.concat(this.#buffers)
    this.#buffers = []
    this.#bufferedBytes = 0
    if (bytes.byteLength === 0) return
    const written = await this.file.write([bytes], this.#writtenBytes)
    if (written !== bytes.byteLength) throw shortWrite(written)
    this.#writtenBytes += bytes.byteLength
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
