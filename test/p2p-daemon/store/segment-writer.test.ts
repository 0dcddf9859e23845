import { describe, expect, it } from 'vitest'

import { PREALLOCATE_BYTES_MIN } from '../../../p2p-daemon/store/constants.ts'
import type { DiskFile } from '../../../p2p-daemon/store/disk-files.ts'
import { RECORD_HEADER_BYTES } from '../../../p2p-daemon/store/pack-record.ts'
import { SegmentWriter } from '../../../p2p-daemon/store/segment-writer.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'

/** A file in memory; a call that is held is done on the disk and not answered yet. */
class HeldFile implements DiskFile {
  bytes = Buffer.alloc(0)
  hold = false
  #held: (() => void)[] = []

  async write(buffers: readonly Uint8Array[], position: number): Promise<number> {
    const data = Buffer.concat(buffers)
    const end = position + data.byteLength
    if (end > this.bytes.byteLength) {
      this.bytes = Buffer.concat([this.bytes, Buffer.alloc(end - this.bytes.byteLength)])
    }
    data.copy(this.bytes, position)
    await this.#answer()
    return data.byteLength
  }

  release(): void {
    this.hold = false
    for (const answer of this.#held.splice(0)) answer()
  }

  datasync = (): Promise<void> => Promise.resolve()
  sizeBytes = (): Promise<number> => Promise.resolve(this.bytes.byteLength)
  close = (): Promise<void> => Promise.resolve()
  read = (): Promise<number> => Promise.reject(new Error('Nothing is read here.'))
  truncate = (sizeBytes: number): Promise<void> => {
    this.bytes = this.bytes.subarray(0, sizeBytes)
    return Promise.resolve()
  }

  #answer(): Promise<void> {
    if (!this.hold) return Promise.resolve()
    return new Promise((resolve) => this.#held.push(resolve))
  }
}

function entry(payload: Buffer) {
  return { kind: 'blob' as const, hash: hashBytes(payload), value: payload.byteLength, payload }
}

describe('segment-writer', () => {
  it('writes no zeros over a batch that is on its way', async () => {
    const file = new HeldFile()
    const open = { segment: 1, salt: Buffer.alloc(16), file, sizeBytes: 2 * PREALLOCATE_BYTES_MIN }
    const writer = new SegmentWriter(open, { preallocateBytesMax: 4 * PREALLOCATE_BYTES_MIN })
    const [first, second] = [Buffer.alloc(100, 1), Buffer.alloc(100, 2)]
    const before = await writer.write([entry(first)], 1)

    file.hold = true
    const writing = writer.write([entry(second)], 2)
    // Makes space for what comes behind the first batch, while the second is written there.
    await writer.sync(before)
    file.release()
    const [record] = await writing
    await writer.close()
    const at = record!.offset + RECORD_HEADER_BYTES
    expect(file.bytes.subarray(at, at + 100).equals(second)).toBe(true)
    expect(file.bytes.byteLength).toBe(at + 100)
  })
})
