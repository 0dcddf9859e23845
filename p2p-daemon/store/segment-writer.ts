import { PREALLOCATE_BATCH_BYTES_MAX, PREALLOCATE_BYTES_MIN } from './constants.ts'
import { type DiskFile, shortWrite } from './disk-files.ts'
import { encodeRecordHeader, RECORD_HEADER_BYTES, type RecordHeader } from './pack-record.ts'

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

export interface OpenSegment {
  segment: number
  salt: Buffer
  file: DiskFile
  /** Where the next record goes. */
  sizeBytes: number
}

/** Written many times over in one call: the content of the space made ready. */
const ZEROS = Buffer.alloc(PREALLOCATE_BYTES_MIN)

/**
 * Appends records to one segment. A write may run while the one before it is synced, no further:
 * what a crash can tear is the last two batches. A failed write or sync says nothing about what
 * is on the disk, so a writer that failed once never writes again.
 *
 * While batches are small, zeros are written ahead of them. A sync of bytes that take the place
 * of zeros changes no size and allocates nothing, so the file system has no journal to write:
 * two to five times the syncs a second. Scans take the zeros for what they are, and a segment
 * that is closed is cut to its records.
 */
export class SegmentWriter {
  readonly segment: number
  readonly #salt: Buffer
  readonly #file: DiskFile
  #writtenBytes: number
  #syncedBytes: number
  #writing: Promise<unknown> = Promise.resolve()
  #failure: unknown
  readonly #preallocateBytesMax: number
  /** Size of the file, zeros and a batch on its way included. */
  #allocatedBytes: number
  #extending: Promise<void> | undefined

  constructor(open: OpenSegment, init: { preallocateBytesMax: number }) {
    this.#preallocateBytesMax = init.preallocateBytesMax
    this.#allocatedBytes = open.sizeBytes
    this.segment = open.segment
    this.#salt = open.salt
    this.#file = open.file
    this.#writtenBytes = open.sizeBytes
    this.#syncedBytes = open.sizeBytes
  }

  get writtenBytes(): number {
    return this.#writtenBytes
  }

  /** Everything before is on the disk and was acknowledged. */
  get syncedBytes(): number {
    return this.#syncedBytes
  }

  async write(entries: readonly PackEntry[], firstSequence: number): Promise<PackRecord[]> {
    const records: PackRecord[] = []
    const buffers: Uint8Array[] = []
    const start = this.#writtenBytes
    let offset = start
    for (const { kind, hash, value, payload } of entries) {
      const payloadBytes = payload.byteLength
      const sequence = firstSequence + records.length
      const header = { kind, hash, value, payloadBytes, sequence }
      records.push({ ...header, segment: this.segment, offset })
      buffers.push(encodeRecordHeader(header, this.#salt))
      if (payloadBytes > 0) buffers.push(payload)
      offset += RECORD_HEADER_BYTES + payloadBytes
    }
    // Zeros must not arrive on top of records: those on their way are waited for, and the sync of
    // the batch before, which may come to its end first, makes space behind this one.
    while (offset > this.#allocatedBytes && this.#extending !== undefined) await this.#extending
    this.#allocatedBytes = Math.max(this.#allocatedBytes, offset)
    const writing = this.#file.write(buffers, start)
    this.#writing = writing.catch(() => undefined)
    const written = await writing
    if (written !== offset - start) throw shortWrite(written)
    this.#writtenBytes = offset
    return records
  }

  /** The records, and all before them, survive a power cut once this resolves. */
  async sync(records: readonly PackRecord[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    await this.#file.datasync()
    const last = records.at(-1)
    if (last === undefined) return
    const syncedBytes = last.offset + RECORD_HEADER_BYTES + last.payloadBytes
    const batchBytes = syncedBytes - this.#syncedBytes
    this.#syncedBytes = syncedBytes
    if (batchBytes <= PREALLOCATE_BATCH_BYTES_MAX) this.#extendWhenNeeded()
  }

  /** Gives the space of what was not acknowledged back, if the disk lets us. */
  async abandon(failure: unknown): Promise<void> {
    this.#failure = failure
    await this.#writing
    await this.#extending
    await this.#file.truncate(this.#syncedBytes).catch(() => undefined)
    await this.#file.close().catch(() => undefined)
  }

  async close(): Promise<void> {
    await this.#writing
    await this.#extending
    if (this.#allocatedBytes > this.#writtenBytes) {
      await this.#file.truncate(this.#writtenBytes).catch(() => undefined)
    }
    await this.#file.close()
  }

  /** In proportion to the segment, so that a small store stays small. */
  #extendWhenNeeded(): void {
    const wanted = Math.min(this.#writtenBytes, this.#preallocateBytesMax)
    const count = Math.floor(wanted / ZEROS.byteLength)
    const enough = this.#allocatedBytes - this.#writtenBytes >= wanted / 2
    if (count === 0 || enough || this.#extending !== undefined) return
    this.#extending = this.#extend(count).finally(() => {
      this.#extending = undefined
    })
  }

  /** Never rejects: failing costs only speed, and the next batch says what is wrong. */
  async #extend(count: number): Promise<void> {
    const start = this.#allocatedBytes
    const zeros = Array.from({ length: count }, () => ZEROS)
    try {
      const written = await this.#file.write(zeros, start)
      if (written !== count * ZEROS.byteLength) return
      await this.#file.datasync()
      this.#allocatedBytes = start + written
    } catch {
      // Until then records grow the file as they come.
    }
  }
}
