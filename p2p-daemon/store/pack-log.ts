import { StorageUnavailableError } from '../../shared/errors.ts'
import { PackQueue, type PackQueueLimits, type Waiting } from './pack-queue.ts'
import { cutHash, SEGMENT_HEADER_BYTES } from './pack-record.ts'
import type { PackSegments } from './pack-segments.ts'
import {
  type OpenSegment,
  type PackEntry,
  type PackRecord,
  SegmentWriter,
} from './segment-writer.ts'
import type { WriteGate } from './store-health.ts'
import { secondsSince, type StoreMetrics } from './store-metrics.ts'

export interface PackLogLimits extends PackQueueLimits {
  segmentBytesMax: number
  /** With so much waiting, the next batch is written while the last one is synced. */
  overlapBytesMin: number
  /** Zeros written ahead; 0 for none. */
  preallocateBytesMax: number
}

/**
 * Appends records to the active segment with group commit: whatever waits when the last sync
 * returned goes out with one write and one sync, then all of it is published and acknowledged.
 *
 * A segment whose write or sync failed is left: its acknowledged length goes into a `cut` record
 * at the head of the next segment, before anything else is acknowledged, and scans ignore what
 * lies behind it. So nothing that was refused comes true at the next start.
 */
export class PackLog {
  readonly #segments: PackSegments
  readonly #gate: WriteGate
  readonly #metrics: StoreMetrics
  readonly #publish: (records: readonly PackRecord[]) => void
  readonly #limits: PackLogLimits
  readonly #queue: PackQueue
  #running: Promise<void> | undefined
  #syncing: Promise<void> = Promise.resolve()
  #writer: SegmentWriter | undefined
  #cuts: { segment: number; sizeBytes: number }[] = []
  #nextSegment = 1
  #nextSequence = 1
  #stopped = false

  constructor(
    components: {
      segments: PackSegments
      gate: WriteGate
      metrics: StoreMetrics
      /** Called after the sync, before the puts resolve. */
      publish: (records: readonly PackRecord[]) => void
    },
    limits: PackLogLimits,
  ) {
    this.#segments = components.segments
    this.#gate = components.gate
    this.#metrics = components.metrics
    this.#publish = components.publish
    this.#limits = limits
    this.#queue = new PackQueue(limits)
  }

  /** Goes on behind what the start-up scan found; `active` is the segment to append to. */
  resume(state: { nextSegment: number; nextSequence: number; active?: OpenSegment }): void {
    this.#nextSegment = state.nextSegment
    this.#nextSequence = state.nextSequence
    if (state.active !== undefined) this.#writer = new SegmentWriter(state.active, this.#limits)
  }

  get activeSegment(): number | undefined {
    return this.#writer?.segment
  }

  takeSegmentNumber(): number {
    return this.#nextSegment++
  }

  /** Resolves when the record is on the disk and published. @throws StorageUnavailableError */
  append(entry: PackEntry, signal?: AbortSignal): Promise<PackRecord> {
    const admit = () => {
      if (this.#stopped) throw new StorageUnavailableError('The store is stopped.')
      this.#gate.assertWritable()
      this.#running ??= this.#run()
    }
    return this.#queue.add(entry, admit, signal)
  }

  /** After a failure: a fresh segment that begins with what is to be cut from the bad ones. */
  async reopen(): Promise<void> {
    await this.#running
    if (this.#writer === undefined && !this.#stopped) await this.#rotate()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
    await this.#writer?.close()
    this.#writer = undefined
  }

  async #run(): Promise<void> {
    for (;;) {
      // The writers just acknowledged run first, so that their next puts share one batch.
      await new Promise((resolve) => setImmediate(resolve))
      if (this.#queue.bytes < this.#limits.overlapBytesMin) await this.#syncing
      if (this.#queue.length === 0) break
      await this.#commit(this.#queue.take())
    }
    this.#running = undefined
  }

  /** Writes the batch and lets its sync follow that of the batch before. */
  async #commit(batch: readonly Waiting[]): Promise<void> {
    try {
      const full = this.#limits.segmentBytesMax
      if (this.#writer === undefined || this.#writer.writtenBytes >= full) await this.#rotate()
      const writer = this.#writer
      if (writer === undefined) throw new Error('There is no active segment.')
      const records = await this.#write(
        writer,
        batch.map(({ entry }) => entry),
      )
      this.#syncing = this.#syncing.then(() => this.#sync(writer, batch, records))
    } catch (error) {
      await this.#syncing
      await this.#fail(error, batch)
    }
  }

  /** Numbers are used up by a failed write too: its records may be on the disk. */
  #write(writer: SegmentWriter, entries: readonly PackEntry[]): Promise<PackRecord[]> {
    const firstSequence = this.#nextSequence
    this.#nextSequence += entries.length
    return writer.write(entries, firstSequence)
  }

  /** Never rejects. */
  async #sync(
    writer: SegmentWriter,
    batch: readonly Waiting[],
    records: readonly PackRecord[],
  ): Promise<void> {
    try {
      const startedMs = performance.now()
      await writer.sync(records)
      this.#metrics.fsync(secondsSince(startedMs))
      this.#publish(records)
      batch.forEach(({ resolve }, at) => resolve(records[at] as PackRecord))
    } catch (error) {
      await this.#fail(error, batch)
    }
  }

  async #fail(error: unknown, batch: readonly Waiting[]): Promise<void> {
    const refused = this.#gate.refuse(error)
    for (const { reject } of batch) reject(refused)
    this.#queue.rejectAll(refused)
    const writer = this.#writer
    if (writer === undefined) return
    this.#writer = undefined
    this.#cuts.push({ segment: writer.segment, sizeBytes: writer.syncedBytes })
    await writer.abandon(error)
  }

  async #rotate(): Promise<void> {
    await this.#syncing
    const full = this.#writer
    this.#writer = undefined
    await full?.close()
    const segment = this.takeSegmentNumber()
    const created = await this.#segments.create(segment)
    const writer = new SegmentWriter(
      { segment, ...created, sizeBytes: SEGMENT_HEADER_BYTES },
      this.#limits,
    )
    try {
      await this.#writeCuts(writer)
    } catch (error) {
      this.#cuts.push({ segment, sizeBytes: SEGMENT_HEADER_BYTES })
      await writer.abandon(error)
      throw error
    }
    this.#writer = writer
  }

  async #writeCuts(writer: SegmentWriter): Promise<void> {
    if (this.#cuts.length === 0) return
    const payload = new Uint8Array(0)
    const entries = this.#cuts.map(({ segment, sizeBytes }) => {
      return { kind: 'cut' as const, hash: cutHash(segment), value: sizeBytes, payload }
    })
    const records = await this.#write(writer, entries)
    await writer.sync(records)
    this.#publish(records)
    this.#cuts = []
  }
}
