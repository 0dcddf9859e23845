import { RECORD_HEADER_BYTES } from './pack-record.ts'
import type { PackEntry, PackRecord } from './segment-writer.ts'

export interface PackQueueLimits {
  batchBytesMax: number
  batchRecordsMax: number
  queueBytesMax: number
  queueRecordsMax: number
}

export interface Waiting {
  entry: PackEntry
  bytes: number
  resolve: (record: PackRecord) => void
  reject: (error: Error) => void
}

/** Records that wait for their group commit. A full queue makes who comes next wait, not fail. */
export class PackQueue {
  readonly #limits: PackQueueLimits
  readonly #room: (() => void)[] = []
  #waiting: Waiting[] = []
  #bytes = 0

  constructor(limits: PackQueueLimits) {
    this.#limits = limits
  }

  get length(): number {
    return this.#waiting.length
  }

  get bytes(): number {
    return this.#bytes
  }

  /**
   * Waits for room, asks `admit` whether the entry is still welcome, and resolves when its batch
   * is done. From the look at the room to the adding nothing else runs.
   */
  async add(entry: PackEntry, admit: () => void, signal?: AbortSignal): Promise<PackRecord> {
    const bytes = RECORD_HEADER_BYTES + entry.payload.byteLength
    while (this.#isFull(bytes)) {
      await new Promise<void>((resolve) => this.#room.push(resolve))
      signal?.throwIfAborted()
    }
    admit()
    return new Promise((resolve, reject) => {
      this.#waiting.push({ entry, bytes, resolve, reject })
      this.#bytes += bytes
    })
  }

  /** The oldest that fit one batch. */
  take(): Waiting[] {
    let count = 0
    let bytes = 0
    for (const waiting of this.#waiting) {
      if (count >= this.#limits.batchRecordsMax) break
      if (count > 0 && bytes + waiting.bytes > this.#limits.batchBytesMax) break
      count += 1
      bytes += waiting.bytes
    }
    this.#bytes -= bytes
    const batch = this.#waiting.splice(0, count)
    this.#wake()
    return batch
  }

  rejectAll(error: Error): void {
    const waiting = this.#waiting
    this.#waiting = []
    this.#bytes = 0
    for (const { reject } of waiting) reject(error)
    this.#wake()
  }

  #isFull(bytes: number): boolean {
    if (this.#waiting.length === 0) return false
    const tooMany = this.#waiting.length >= this.#limits.queueRecordsMax
    return tooMany || this.#bytes + bytes > this.#limits.queueBytesMax
  }

  #wake(): void {
    for (const wake of this.#room.splice(0)) wake()
  }
}
