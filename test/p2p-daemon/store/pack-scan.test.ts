import { randomBytes } from 'node:crypto'

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { NodeDiskFiles, writeNewFile } from '../../../p2p-daemon/store/disk-files.ts'
import type { PackRecord } from '../../../p2p-daemon/store/segment-writer.ts'
import {
  decodeRecordHeader,
  decodeSegmentHeader,
  encodeRecordHeader,
  encodeSegmentHeader,
  SEGMENT_HEADER_BYTES,
} from '../../../p2p-daemon/store/pack-record.ts'
import { scanSegment } from '../../../p2p-daemon/store/pack-scan.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { blobOf } from './random.ts'
import { makeTempDir } from './temp-dir.ts'

const header = fc.record({
  kind: fc.constantFrom('blob' as const, 'loose' as const, 'tombstone' as const, 'cut' as const),
  sequence: fc.maxSafeNat(),
  value: fc.maxSafeNat(),
  payloadBytes: fc.nat(4 * 1024 * 1024),
  hash: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((b) => Buffer.from(b).toString('hex')),
})

describe('pack-record', () => {
  it('reads back what it wrote, under the salt of the segment alone', () => {
    const salt = randomBytes(16)
    fc.assert(
      fc.property(header, (value) => {
        const bytes = encodeRecordHeader(value, salt)
        expect(decodeRecordHeader(bytes, salt)).toEqual(value)
        expect(decodeRecordHeader(bytes, randomBytes(16))).toBeUndefined()
      }),
    )
  })

  it('knows a header with any one bit flipped', () => {
    const salt = randomBytes(16)
    const hash = hashBytes(salt)
    const value = { kind: 'blob' as const, sequence: 7, value: 9, payloadBytes: 9, hash }
    const bytes = encodeRecordHeader(value, salt)
    for (let bit = 0; bit < bytes.byteLength * 8; bit += 1) {
      const flipped = Buffer.from(bytes)
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(decodeRecordHeader(flipped, salt)).toBeUndefined()
    }
  })

  it('survives damage to one copy of the segment header, not to both', () => {
    const bytes = encodeSegmentHeader(42, 1_700_000_000_000)
    expect(bytes.byteLength).toBe(SEGMENT_HEADER_BYTES)
    const whole = decodeSegmentHeader(bytes)
    expect(whole?.segment).toBe(42)
    bytes[30] = (bytes[30] as number) ^ 1
    expect(decodeSegmentHeader(bytes)).toEqual(whole)
    bytes[94] = (bytes[94] as number) ^ 1
    expect(decodeSegmentHeader(bytes)).toBeUndefined()
    expect(decodeSegmentHeader(Buffer.alloc(10))).toBeUndefined()
  })
})

describe('pack-scan', () => {
  const salt = Buffer.alloc(16, 7)

  function record(id: number, sizeBytes: number): Buffer {
    const payload = blobOf(id, sizeBytes)
    const hash = hashBytes(payload)
    const fields = { kind: 'blob' as const, sequence: id, value: sizeBytes, hash }
    return Buffer.concat([
      encodeRecordHeader({ ...fields, payloadBytes: sizeBytes }, salt),
      payload,
    ])
  }

  async function scan(bytes: Buffer, verifyFrom = 0) {
    const dir = await makeTempDir()
    const files = new NodeDiskFiles()
    await writeNewFile(files, `${dir.path}/segment`, bytes)
    const file = await files.open(`${dir.path}/segment`, 'read')
    const found: PackRecord[] = []
    const init = { segment: 1, salt, from: 0, to: bytes.byteLength, verifyFrom }
    const result = await scanSegment(file, init, (one) => void found.push(one))
    await file.close()
    await dir.remove()
    return { ...result, sequences: found.map(({ sequence }) => sequence) }
  }

  it('finds records of all sizes across the window', async () => {
    const sizes = [0, 1, 4_194_304, 100, 3_000_000, 4_194_303, 5]
    const bytes = Buffer.concat(sizes.map((size, at) => record(at + 1, size)))
    for (const verifyFrom of [0, bytes.byteLength]) {
      const result = await scan(bytes, verifyFrom)
      expect(result.sequences).toEqual([1, 2, 3, 4, 5, 6, 7])
      expect(result).toMatchObject({ validBytes: bytes.byteLength, skippedBytes: 0, corrupt: [] })
    }
  })

  it('goes on behind bytes that are no record', async () => {
    const garbage = [Buffer.from('bzR1bzR1'), randomBytes(9_000_000), Buffer.alloc(77)]
    const bytes = Buffer.concat([
      record(1, 50),
      garbage[0] as Buffer,
      record(2, 60),
      garbage[1] as Buffer,
      record(3, 70),
      garbage[2] as Buffer,
    ])
    const result = await scan(bytes)
    expect(result.sequences).toEqual([1, 2, 3])
    expect(result.skippedBytes).toBe(9_000_008)
    expect(result.validBytes).toBe(bytes.byteLength - 77)
  })

  it('tells damaged content from a torn end', async () => {
    const bytes = Buffer.concat([record(1, 500), record(2, 500), record(3, 500)])
    for (const at of [64 + 564, 64 + 2 * 564]) bytes[at] = (bytes[at] as number) ^ 1
    const result = await scan(bytes)
    expect(result.sequences).toEqual([1])
    expect(result).toMatchObject({ validBytes: 564, corrupt: [] })
    const followed = await scan(Buffer.concat([bytes, record(4, 10)]))
    expect(followed.sequences).toEqual([1, 4])
    expect(followed.corrupt).toEqual([hashBytes(blobOf(2, 500)), hashBytes(blobOf(3, 500))])
  })
})
