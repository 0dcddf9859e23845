import { type BlobLocation, locationOf, sameLocation } from './blob-location.ts'
import { DELETED_SEGMENT, type IndexDatabase } from './index-database.ts'
import type { PackRecord } from './segment-writer.ts'

/**
 * Takes records found by a scan into the index, in any order: of all records of a hash the one
 * with the highest sequence counts. Sorted by hash before they are inserted, which fills the
 * B-tree from left to right and is ten times as fast as the order of the segment.
 */
export class IndexIngest {
  readonly #db: IndexDatabase
  readonly #batchMax: number
  #records: PackRecord[] = []
  #count = 0
  #sequence: number

  constructor(components: { database: IndexDatabase }, init: { batchMax: number }) {
    this.#db = components.database
    this.#batchMax = init.batchMax
    this.#sequence = this.#db.meta('sequence')
  }

  get count(): number {
    return this.#count
  }

  get sequence(): number {
    return this.#sequence
  }

  add(record: PackRecord): void {
    this.#records.push(record)
    this.#count += 1
    this.#sequence = Math.max(this.#sequence, record.sequence)
    if (this.#records.length >= this.#batchMax) this.drain()
  }

  drain(): void {
    const records = this.#records
    this.#records = []
    if (records.length === 0) return
    records.sort((a, b) => (a.hash < b.hash ? -1 : a.hash > b.hash ? 1 : b.sequence - a.sequence))
    this.#db.transaction(() => {
      for (const record of records) this.#take(record)
    })
  }

  /** Leaves exact counts behind. */
  finish(): void {
    this.drain()
    this.#db.transaction(() => {
      this.#db.removeDeleted()
      const { blobs, bytes, liveBytes } = this.#db.count()
      this.#db.setMeta('blobs', blobs)
      this.#db.setMeta('bytes', bytes)
      this.#db.setMeta('sequence', this.#sequence)
      for (const [segment, state] of this.#db.segments()) {
        this.#db.putSegment(segment, { ...state, liveBytes: liveBytes.get(segment) ?? 0 })
      }
    })
  }

  #take(record: PackRecord): void {
    const { hash, sequence, segment } = record
    const gone = record.kind === 'tombstone'
    const location = gone ? deletedUpTo(record.value) : locationOf(record)
    // A copy made by a compaction that did not end may be older than a deletion known already.
    if (!gone && this.#db.isDead(hash, sequence)) {
      this.#db.addDead(hash, segment, sequence)
      return
    }
    if (this.#db.addBlob(hash, location)) return
    const current = this.#db.blob(hash)
    if (current === undefined || (!gone && sameLocation(current, location))) return
    // A deletion counts up to and including its sequence, also against a put of that sequence.
    const outdated = gone ? current.sequence > record.value : current.sequence >= sequence
    if (outdated) {
      if (!gone) this.#db.addDead(hash, segment, sequence)
      return
    }
    if (current.segment !== DELETED_SEGMENT) {
      this.#db.addDead(hash, current.segment, current.sequence)
    }
    this.#db.putBlob(hash, location)
  }
}

function deletedUpTo(sequence: number): BlobLocation {
  return { sizeBytes: 0, loose: false, segment: DELETED_SEGMENT, offset: 0, sequence }
}
