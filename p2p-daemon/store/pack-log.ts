import { StorageUnavailableError } from '../../shared/errors.ts'
import { type DiskFile, shortWrite } from './disk-files.ts'
import {
  cutHash,
  encodeRecordHeader,
  RECORD_HEADER_BYTES,
  type RecordHeader,
  SEGMENT_HEADER_BYTES,
} from './pack-record.ts'
import type { PackSegments } from './pack-segments.ts'
import type { WriteGate } from './store-health.ts'
import { secondsSince, type StoreMetrics } from './store-metrics.ts'

/** A record and where it lies. `offset` is that of its header. */
export interface PackRecord extends RecordHeader {
  segment: number
  offset: number
}

export interface PackEntry {
  kind: RecordHeader['kind']
  hash: string
  value: number
  payload: Uint8Array
}

interface Waiting {
  entry: PackEntry
  bytes: number
  resolve: (record: PackRecord) => void
  reject: (error: Error) => void
}

interface Active {
  segment: number
  salt: Buffer
  file: DiskFile
  sizeBytes: number
}

export interface PackLogLimits {
  segmentBytesMax: number
  batchBytesMax: number
  batchRecordsMax: number
  queueBytesMax: number
  queueRecordsMax: number
}

/**
 * Appends records to the active segment with group commit: whatever waits when the last sync
 * returned goes out with one write and one sync, then all of it is published and acknowledged.
 *
 * A write or sync that fails says nothing about what is on the disk, so the segment is never
 * written again: its acknowledged length goes into a `cut` record at the head of the next
 * segment, before anything else is acknowledged, and scans ignore what lies behind it.
 */
export class PackLog {
  readonly #segments: PackSegments
  readonly #gate: WriteGate
  readonly #metrics: StoreMetrics
  readonly #publish: (records: readonly PackRecord[]) => void
  readonly #limits: PackLogLimits
  readonly #room: (() => void)[] = []
  #queue: Waiting[] = []
  #queueBytes = 0
  #running: Promise<void> | undefined
  #active: Active | undefined
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
  }

  /** Goes on behind what the start-up scan found; `active` is the segment to append to. */
  resume(state: { nextSegment: number; nextSequence: number; active?: Active }): void {
    this.#nextSegment = state.nextSegment
    this.#nextSequence = state.nextSequence
    this.#active = state.active
  }

  get activeSegment(): number | undefined {
    return this.#active?.segment
  }

  takeSegmentNumber(): number {
    return this.#nextSegment++
  }

  /** Resolves when the record is on the disk and published. @throws StorageUnavailableError */
  async append(entry: PackEntry, signal?: AbortSignal): Promise<PackRecord> {
    const bytes = RECORD_HEADER_BYTES + entry.payload.byteLength
    while (this.#full(bytes)) {
      await new Promise<void>((resolve) => this.#room.push(resolve))
      signal?.throwIfAborted()
    }
    if (this.#stopped) throw new StorageUnavailableError('The store is stopped.')
    this.#gate.assertWritable()
    return new Promise((resolve, reject) => {
      this.#queue.push({ entry, bytes, resolve, reject })
      this.#queueBytes += bytes
      this.#running ??= this.#run()
    })
  }

  /** After a failure: a fresh segment that begins with what is to be cut from the bad ones. */
  async reopen(): Promise<void> {
    await this.#running
    if (this.#active === undefined && !this.#stopped) await this.#rotate()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
    await this.#active?.file.close()
    this.#active = undefined
  }

  #full(bytes: number): boolean {
    if (this.#queue.length === 0) return false
    const tooMany = this.#queue.length >= this.#limits.queueRecordsMax
    return tooMany || this.#queueBytes + bytes > this.#limits.queueBytesMax
  }

  async #run(): Promise<void> {
    do {
      // The writers just acknowledged run first, so that their next puts share one batch.
      await new Promise((resolve) => setImmediate(resolve))
      const batch = this.#take()
      try {
        const records = await this.#commit(batch.map((waiting) => waiting.entry))
        batch.forEach((waiting, at) => waiting.resolve(records[at] as PackRecord))
      } catch (error) {
        const refused = this.#gate.refuse(error)
        for (const waiting of [...batch, ...this.#queue]) waiting.reject(refused)
        this.#queue = []
        this.#queueBytes = 0
      }
      for (const wake of this.#room.splice(0)) wake()
    } while (this.#queue.length > 0)
    this.#running = undefined
  }

  #take(): Waiting[] {
    let count = 0
    let bytes = 0
    for (const waiting of this.#queue) {
      if (count >= this.#limits.batchRecordsMax) break
      if (count > 0 && bytes + waiting.bytes > this.#limits.batchBytesMax) break
      count += 1
      bytes += waiting.bytes
    }
    this.#queueBytes -= bytes
    return this.#queue.splice(0, count)
  }

  async #commit(entries: readonly PackEntry[]): Promise<PackRecord[]> {
    if (this.#active === undefined || this.#active.sizeBytes >= this.#limits.segmentBytesMax) {
      await this.#rotate()
    }
    const active = this.#active
    if (active === undefined) throw new Error('There is no active segment.')
    const records: PackRecord[] = []
    const buffers: Uint8Array[] = []
    let offset = active.sizeBytes
    for (const { kind, hash, value, payload } of entries) {
      const payloadBytes = payload.byteLength
      const sequence = this.#nextSequence++
      const header = { kind, hash, value, payloadBytes, sequence }
      records.push({ ...header, segment: active.segment, offset })
      buffers.push(encodeRecordHeader(header, active.salt))
      if (payloadBytes > 0) buffers.push(payload)
      offset += RECORD_HEADER_BYTES + payloadBytes
    }
    await this.#write(active, buffers, offset)
    this.#publish(records)
    return records
  }

  async #write(active: Active, buffers: Uint8Array[], endBytes: number): Promise<void> {
    try {
      const written = await active.file.write(buffers, active.sizeBytes)
      if (written !== endBytes - active.sizeBytes) throw shortWrite(written)
      const startedMs = performance.now()
      await active.file.datasync()
      this.#metrics.fsync(secondsSince(startedMs))
      active.sizeBytes = endBytes
    } catch (error) {
      await this.#seal(active)
      throw error
    }
  }

  /** Gives the space of the failed batch back if the disk lets us; the cut holds either way. */
  async #seal(active: Active): Promise<void> {
    this.#active = undefined
    this.#cuts.push({ segment: active.segment, sizeBytes: active.sizeBytes })
    await active.file.truncate(active.sizeBytes).catch(() => undefined)
    await active.file.close().catch(() => undefined)
  }

  async #rotate(): Promise<void> {
    const full = this.#active
    this.#active = undefined
    await full?.file.close()
    const segment = this.takeSegmentNumber()
    const created = await this.#segments.create(segment)
    this.#active = { segment, ...created, sizeBytes: SEGMENT_HEADER_BYTES }
    const cuts = this.#cuts
    if (cuts.length === 0) return
    this.#cuts = []
    try {
      const none = new Uint8Array(0)
      await this.#commit(
        cuts.map((cut) => ({
          kind: 'cut',
          hash: cutHash(cut.segment),
          value: cut.sizeBytes,
          payload: none,
        })),
      )
    } catch (error) {
      this.#cuts.push(...cuts)
      throw error
    }
  }
}
