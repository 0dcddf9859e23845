import assert from 'node:assert/strict'

import { type BlobLocation, locationOf, recordBytes, sameLocation } from './blob-location.ts'
import { StorageUnavailableError } from '../../shared/errors.ts'
import type { BlobStat } from './blob-store.ts'
import type { IndexDatabase, SegmentState } from './index-database.ts'
import type { PackRecord } from './segment-writer.ts'
import { cutSegment, RECORD_HEADER_BYTES } from './pack-record.ts'

interface Dead {
  hash: string
  segment: number
  sequence: number
}

/**
 * Hash -> location. Changes are visible at once and reach SQLite in batches behind the segments;
 * what a crash takes from memory is read again from the segments at the next start.
 */
export class PrimaryIndex {
  readonly #db: IndexDatabase
  readonly #pendingMax: number
  readonly #flushMs: number
  readonly #onFlushFailed: (error: unknown) => void
  readonly #pending = new Map<string, BlobLocation | null>()
  readonly #pendingDead: Dead[] = []
  readonly #touched = new Set<number>()
  readonly #segments: Map<number, SegmentState>
  #blobs: number
  #bytes: number
  #sequence: number
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(
    components: { database: IndexDatabase; onFlushFailed: (error: unknown) => void },
    init: { pendingMax: number; flushMs: number },
  ) {
    this.#db = components.database
    this.#onFlushFailed = components.onFlushFailed
    this.#pendingMax = init.pendingMax
    this.#flushMs = init.flushMs
    this.#segments = this.#db.segments()
    this.#blobs = this.#db.meta('blobs')
    this.#bytes = this.#db.meta('bytes')
    this.#sequence = this.#db.meta('sequence')
  }

  get(hash: string): BlobLocation | undefined {
    const pending = this.#pending.get(hash)
    if (this.#closed) throw new StorageUnavailableError('The store is stopped.')
    return pending === undefined ? this.#db.blob(hash) : (pending ?? undefined)
  }

  usage(): { blobs: number; bytes: number } {
    return { blobs: this.#blobs, bytes: this.#bytes }
  }

  /** Highest sequence seen. */
  get sequence(): number {
    return this.#sequence
  }

  segments(): ReadonlyMap<number, SegmentState> {
    return this.#segments
  }

  /** Takes up records that were just appended and synced, in the order of the segment. */
  apply(records: readonly PackRecord[]): void {
    for (const record of records) {
      const state = this.#segment(record.segment)
      const endBytes = record.offset + RECORD_HEADER_BYTES + record.payloadBytes
      state.indexedBytes = Math.max(state.indexedBytes, endBytes)
      this.#sequence = Math.max(this.#sequence, record.sequence)
      if (record.kind === 'cut') {
        this.#segment(cutSegment(record.hash)).cutBytes = record.value
        continue
      }
      const before = this.get(record.hash)
      const tombstone = record.kind === 'tombstone'
      // A tombstone that comes after a new put of the same blob leaves that put alone.
      if (tombstone && (before?.sequence ?? Infinity) > record.value) continue
      if (before !== undefined) this.#bury(record.hash, before)
      if (tombstone) this.#pending.set(record.hash, null)
      else this.#setLive(record.hash, locationOf(record))
    }
    if (this.#pending.size + this.#pendingDead.length >= this.#pendingMax) this.#tryFlush()
    else this.#timer ??= setTimeout(() => this.#tryFlush(), this.#flushMs).unref()
  }

  /** Compaction copied a record. The copy takes over unless the blob has changed since. */
  move(hash: string, from: ReadonlySet<number>, to: BlobLocation): void {
    const current = this.get(hash)
    if (current !== undefined && current.sequence === to.sequence && from.has(current.segment)) {
      this.#segment(current.segment).liveBytes -= recordBytes(current)
      this.#segment(to.segment).liveBytes += recordBytes(to)
      this.#pending.set(hash, to)
    } else {
      this.#pendingDead.push({ hash, segment: to.segment, sequence: to.sequence })
      this.#segment(to.segment)
    }
    if (this.#pending.size + this.#pendingDead.length >= this.#pendingMax) this.#tryFlush()
  }

  /** Forgets a copy found bad. False when the index meanwhile points elsewhere. */
  drop(hash: string, bad: BlobLocation): boolean {
    if (!sameLocation(this.get(hash), bad)) return false
    this.#bury(hash, bad)
    this.#pending.set(hash, null)
    return true
  }

  /** Everything before this position is in the index, whether it counts or not. */
  setIndexed(segment: number, indexedBytes: number): void {
    this.#segment(segment).indexedBytes = indexedBytes
  }

  /**
   * From here on, across a power cut too, the segment may be missing: nothing points into it.
   * Should its file stay, the next start scans it again and finds every record outdated.
   */
  retireSegment(segment: number): void {
    const state = this.#segment(segment)
    assert.equal(state.liveBytes, 0, 'a segment with live records is not retired')
    state.indexedBytes = 0
    this.flush()
    this.#db.sync()
  }

  /** After the file of a retired segment was unlinked. */
  removeSegment(segment: number): void {
    this.flush()
    this.#db.transaction(() => this.#db.removeSegment(segment))
    this.#segments.delete(segment)
  }

  /** Reads the whole index: only for the few that compaction could not read by scanning. */
  hashesIn(segment: number): string[] {
    this.flush()
    return this.#db.hashesIn(segment)
  }

  /** Only for tombstones of a segment under compaction: see IndexDatabase.isTombstoneNeeded. */
  isTombstoneNeeded(hash: string, upTo: number, exceptSegment: number): boolean {
    this.flush()
    return this.#db.isTombstoneNeeded(hash, upTo, exceptSegment)
  }

  page(after: string, limit: number): BlobStat[] {
    this.flush()
    return this.#db.page(after, limit)
  }

  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#pending.size + this.#pendingDead.length + this.#touched.size === 0) return
    this.#db.transaction(() => {
      for (const [hash, location] of this.#pending) {
        if (location === null) this.#db.deleteBlob(hash)
        else this.#db.putBlob(hash, location)
      }
      for (const dead of this.#pendingDead) {
        this.#db.addDead(dead.hash, dead.segment, dead.sequence)
      }
      for (const segment of this.#touched) {
        const state = this.#segments.get(segment)
        if (state !== undefined) this.#db.putSegment(segment, state)
      }
      this.#db.setMeta('blobs', this.#blobs)
      this.#db.setMeta('bytes', this.#bytes)
      this.#db.setMeta('sequence', this.#sequence)
    })
    this.#pending.clear()
    this.#pendingDead.length = 0
    this.#touched.clear()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    try {
      this.flush()
      this.#db.sync()
    } finally {
      this.#db.close()
    }
  }

  /** The entries stay in memory when the disk is full; the store takes no more puts meanwhile. */
  #tryFlush(): void {
    try {
      this.flush()
    } catch (error) {
      this.#onFlushFailed(error)
    }
  }

  #setLive(hash: string, location: BlobLocation): void {
    this.#pending.set(hash, location)
    this.#segment(location.segment).liveBytes += recordBytes(location)
    this.#blobs += 1
    this.#bytes += location.sizeBytes
  }

  #bury(hash: string, location: BlobLocation): void {
    const { segment, sequence } = location
    this.#blobs -= 1
    this.#bytes -= location.sizeBytes
    this.#segment(segment).liveBytes -= recordBytes(location)
    this.#pendingDead.push({ hash, segment, sequence })
  }

  #segment(segment: number): SegmentState {
    let state = this.#segments.get(segment)
    if (state === undefined) {
      state = { indexedBytes: 0, liveBytes: 0, cutBytes: undefined }
      this.#segments.set(segment, state)
    }
    this.#touched.add(segment)
    return state
  }
}
