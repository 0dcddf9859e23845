import { UNSYNCED_BYTES_MAX, REBUILD_BATCH_RECORDS } from './constants.ts'
import type { DiskFile, DiskFiles } from './disk-files.ts'
import type { IndexDatabase, SegmentState } from './index-database.ts'
import { IndexIngest } from './index-ingest.ts'
import { walkLoose } from './loose-walk.ts'
import { cutSegment, SEGMENT_HEADER_BYTES } from './pack-record.ts'
import { contentEnd, scanSegment } from './pack-scan.ts'
import type { PackSegments } from './pack-segments.ts'
import type { OpenSegment } from './segment-writer.ts'
import type { StoreLayout } from './store-layout.ts'
import type { StoreLog } from './store-log.ts'

export interface RebuildProgress {
  /** Bytes of segments scanned and to scan; loose blobs are walked after them. */
  doneBytes: number
  totalBytes: number
  records: number
}

export interface Recovered {
  nextSegment: number
  nextSequence: number
  active?: OpenSegment
  rebuilt: boolean
  /** Blobs that should be here and are not, or are damaged. */
  corrupt: { hash: string; reason: string }[]
}

interface Components {
  files: DiskFiles
  layout: StoreLayout
  segments: PackSegments
  database: IndexDatabase
  log: StoreLog
  onProgress: (progress: RebuildProgress) => void
}

/**
 * Brings the index in line with the disk: reads what was appended since the last index
 * transaction, or everything when the index is new, unfinished, or older than the segments.
 */
export class StoreRecovery {
  readonly #components: Components
  readonly #ingest: IndexIngest
  readonly #corrupt: Recovered['corrupt'] = []
  readonly #damaged: string[] = []
  readonly #segmentBytesMax: number
  readonly #signal: AbortSignal | undefined
  #states = new Map<number, SegmentState>()
  #progress: RebuildProgress = { doneBytes: 0, totalBytes: 0, records: 0 }

  constructor(
    components: Components,
    init: { segmentBytesMax: number; signal?: AbortSignal | undefined },
  ) {
    this.#components = components
    this.#segmentBytesMax = init.segmentBytesMax
    this.#signal = init.signal
    this.#ingest = new IndexIngest(components, { batchMax: REBUILD_BATCH_RECORDS })
  }

  async run(): Promise<Recovered> {
    const { database, segments, files, log } = this.#components
    const ids = await segments.list()
    const sizes = new Map<number, number>()
    for (const id of ids) sizes.set(id, (await files.stat(segments.path(id)))?.sizeBytes ?? 0)
    this.#states = database.segments()
    const lost = this.#lostHashes(sizes)
    const rebuild = database.meta('complete') !== 1 || lost !== undefined
    if (rebuild) this.#beginRebuild(sizes)
    let active: Recovered['active']
    // Newest first: a cut is always in a newer segment than the one it cuts.
    for (const id of ids.toReversed()) {
      const appendable = id === ids.at(-1)
      const found = await this.#readSegment(id, sizes.get(id) ?? 0, appendable)
      if (found !== undefined) active = found
    }
    this.#ingest.drain()
    // Of a damaged record nothing needs to be said when a newer one or a deletion is known.
    for (const hash of this.#damaged) {
      if (database.blob(hash) !== undefined) continue
      this.#corrupt.push({ hash, reason: 'its record in a pack segment is damaged' })
    }
    if (rebuild) await this.#walkLoose()
    if (rebuild || this.#ingest.count > 0) this.#ingest.finish()
    for (const hash of lost ?? []) {
      if (database.blob(hash) !== undefined) continue
      this.#corrupt.push({ hash, reason: 'its segment is missing or cut short' })
    }
    if (rebuild) {
      database.setSyncing(true)
      database.sync()
      database.setMeta('complete', 1)
      log.info({ records: this.#ingest.count }, 'the blob index was rebuilt from disk')
    }
    return {
      nextSegment: (ids.at(-1) ?? 0) + 1,
      nextSequence: this.#ingest.sequence + 1,
      ...(active === undefined ? {} : { active }),
      rebuilt: rebuild,
      corrupt: this.#corrupt,
    }
  }

  /**
   * What the index places in bytes that are not there: segments were lost or cut, or the disk is
   * an older copy. Undefined when there are no such bytes.
   */
  #lostHashes(sizes: ReadonlyMap<number, number>): string[] | undefined {
    let lost: string[] | undefined
    for (const [segment, state] of this.#states) {
      const sizeBytes = sizes.get(segment) ?? 0
      if (segment === 0 || sizeBytes >= state.indexedBytes) continue
      lost ??= []
      for (const hash of this.#components.database.hashesIn(segment)) lost.push(hash)
    }
    return lost
  }

  #beginRebuild(sizes: ReadonlyMap<number, number>): void {
    const { database } = this.#components
    database.transaction(() => database.setMeta('complete', 0))
    database.sync()
    database.setSyncing(false)
    database.transaction(() => database.clear())
    this.#states = new Map()
    for (const size of sizes.values()) this.#progress.totalBytes += size
  }

  async #readSegment(
    segment: number,
    sizeBytes: number,
    appendable: boolean,
  ): Promise<Recovered['active']> {
    const { segments, log } = this.#components
    const state = this.#state(segment)
    const from = Math.max(state.indexedBytes, SEGMENT_HEADER_BYTES)
    const to = Math.min(sizeBytes, state.cutBytes ?? sizeBytes)
    if (from >= to && !appendable) return undefined
    const file = await segments.open(segment, appendable ? 'write' : 'read')
    let keepOpen = false
    try {
      const header = await segments.header(file)
      if (header === undefined) {
        log.error({ segment }, 'a pack segment has no readable header, its blobs are not indexed')
        return undefined
      }
      const written = await contentEnd(file, from, to)
      const end = await this.#scan(file, { segment, salt: header.salt, from, to }, written)
      const tail = Math.max(written - end, 0)
      if (tail > 0) log.warn({ segment, at: end, bytes: tail }, 'a pack segment has a torn tail')
      const full = end >= this.#segmentBytesMax || tail > UNSYNCED_BYTES_MAX
      if (!appendable || full || state.cutBytes !== undefined) return undefined
      if (to > end) {
        await file.truncate(end)
        await file.datasync()
      }
      keepOpen = true
      return { segment, salt: header.salt, file, sizeBytes: end }
    } finally {
      if (!keepOpen) await file.close()
    }
  }

  async #scan(
    file: DiskFile,
    range: { segment: number; salt: Buffer; from: number; to: number },
    written: number,
  ): Promise<number> {
    const { database, log, onProgress } = this.#components
    const { segment, from, to } = range
    // Only the last batches can be torn, what is before was synced; reads verify anyway.
    const verifyFrom = Math.max(from, written - UNSYNCED_BYTES_MAX)
    const result = await scanSegment(
      file,
      { ...range, verifyFrom, signal: this.#signal },
      (record) => {
        if (record.kind === 'cut') this.#cut(cutSegment(record.hash), record.value)
        else this.#ingest.add(record)
        return undefined
      },
    )
    this.#damaged.push(...result.corrupt)
    if (result.skippedBytes > 0) {
      log.error({ segment, bytes: result.skippedBytes }, 'a pack segment has unreadable bytes')
    }
    this.#ingest.drain()
    const state = this.#state(segment)
    state.indexedBytes = Math.max(state.indexedBytes, result.validBytes)
    database.transaction(() => database.putSegment(segment, state))
    this.#progress = {
      ...this.#progress,
      doneBytes: this.#progress.doneBytes + to,
      records: this.#ingest.count,
    }
    if (this.#progress.totalBytes > 0) onProgress({ ...this.#progress })
    return result.validBytes
  }

  #cut(segment: number, cutBytes: number): void {
    const { database } = this.#components
    const state = this.#state(segment)
    state.cutBytes = cutBytes
    database.transaction(() => database.putSegment(segment, state))
  }

  /**
   * Loose blobs without a record are taken in: the record was lost, or the put that made the file
   * was cut short after the rename. Both read as verified as any other.
   */
  async #walkLoose(): Promise<void> {
    const { files, layout, database } = this.#components
    database.transaction(() => database.removeDeleted())
    database.beginSeen()
    for await (const hashes of walkLoose(files, layout, this.#signal)) {
      const unknown = hashes.filter((hash) => database.blob(hash) === undefined)
      const sizes = await Promise.all(unknown.map((hash) => files.stat(layout.loose(hash).path)))
      database.transaction(() => {
        for (const hash of hashes) database.addSeen(hash)
        for (const [at, hash] of unknown.entries()) {
          const sizeBytes = sizes[at]?.sizeBytes
          if (sizeBytes === undefined) continue
          database.addBlob(hash, { sizeBytes, loose: true, segment: 0, offset: 0, sequence: 0 })
        }
      })
    }
    for (const hash of database.endSeen()) {
      this.#corrupt.push({ hash, reason: 'its file is missing' })
      database.deleteBlob(hash)
    }
  }

  #state(segment: number): SegmentState {
    let state = this.#states.get(segment)
    if (state === undefined) {
      state = { indexedBytes: 0, liveBytes: 0, cutBytes: undefined }
      this.#states.set(segment, state)
    }
    return state
  }
}
