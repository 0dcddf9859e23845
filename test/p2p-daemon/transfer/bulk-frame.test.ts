import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import {
  encodeDataHeader,
  encodeFrame,
  FrameDecoder,
  REQUEST_ID_MAX,
  type BulkMessage,
} from '../../../p2p-daemon/transfer/bulk-frame.ts'
import { RANGE_BYTES_MAX } from '../../../p2p-daemon/transfer/constants.ts'
import { ProtocolViolationError } from '../../../shared/errors.ts'

const FUZZ_CASES = 20_000

type Seen = { id: number; message: BulkMessage } | { id: number; data: Buffer }

/** What a decoder makes of the bytes, with the pieces of a run of data put together. */
function decode(pieces: readonly Uint8Array[]): Seen[] {
  const seen: Seen[] = []
  const decoder = new FrameDecoder({
    onMessage: (id, message) => void seen.push({ id, message }),
    onData: (id, bytes) => {
      const last = seen.at(-1)
      if (last && 'data' in last && last.id === id) last.data = Buffer.concat([last.data, bytes])
      else seen.push({ id, data: Buffer.from(bytes) })
    },
  })
  for (const piece of pieces) decoder.push(piece)
  return seen
}

function cut(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const pieces: Uint8Array[] = []
  let at = 0
  for (const length of lengths) {
    pieces.push(bytes.subarray(at, at + length))
    at += length
  }
  return [...pieces, bytes.subarray(at)]
}

const id = fc.integer({ min: 0, max: REQUEST_ID_MAX })
const size = fc.integer({ min: 0, max: 2 ** 50 })
const hash = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((b) => Buffer.from(b).toString('hex'))
const message: fc.Arbitrary<BulkMessage> = fc.oneof(
  fc.constantFrom('cancel', 'cancelled', 'ping', 'pong', 'goodbye').map((type) => ({ type })),
  fc.record({
    type: fc.constant('range' as const),
    hash,
    start: size,
    length: fc.integer({ min: 1, max: RANGE_BYTES_MAX }),
  }),
  fc.tuple(size, fc.integer({ min: 0, max: RANGE_BYTES_MAX })).map(([start, length]) => ({
    type: 'head' as const,
    sizeBytes: start + length,
    start,
    length,
  })),
  fc.record({
    type: fc.constant('error' as const),
    code: fc.string({ maxLength: 64 }),
    message: fc.string({ maxLength: 200 }),
    sizeBytes: size,
  }),
)
const data = fc.uint8Array({ minLength: 1, maxLength: 3_000 }).map((bytes) => Buffer.from(bytes))
const frame: fc.Arbitrary<Seen> = fc.oneof(fc.record({ id, message }), fc.record({ id, data }))
const pieceLengths = fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 40 })

function encode(seen: Seen): Buffer {
  if ('message' in seen) return encodeFrame(seen.id, seen.message)
  return Buffer.concat([encodeDataHeader(seen.id, seen.data.length), seen.data])
}

describe('bulk-frame', () => {
  it('reads what was written, in whatever pieces it comes', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 12 }), pieceLengths, (frames, lengths) => {
        const bytes = Buffer.concat(frames.map((one) => encode(one)))
        // Runs of data under one id are put together by `decode`.
        const separated = frames.filter((one, index) => {
          const before = frames[index - 1]
          return !(before && 'data' in before && 'data' in one && before.id === one.id)
        })
        fc.pre(separated.length === frames.length)
        expect(decode(cut(bytes, lengths))).toEqual(frames)
      }),
      { numRuns: 2_000 },
    )
  })

  it('makes frames or a violation of any bytes', () => {
    const bytes = fc.uint8Array({ maxLength: 400 })
    fc.assert(
      fc.property(bytes, pieceLengths, (garbage, lengths) => {
        onlyViolations(garbage, lengths)
      }),
      { numRuns: FUZZ_CASES / 2 },
    )
  })

  it('makes frames or a violation of frames with flipped, lost and added bytes', () => {
    const harm = fc.record({
      at: fc.nat(),
      how: fc.constantFrom('flip', 'drop', 'add'),
      byte: fc.integer({ min: 0, max: 255 }),
    })
    const frames = fc.array(frame, { minLength: 1, maxLength: 5 })
    const harms = fc.array(harm, { minLength: 1, maxLength: 5 })
    let violations = 0
    fc.assert(
      fc.property(frames, harms, pieceLengths, (good, all, lengths) => {
        const bytes = [...Buffer.concat(good.map((one) => encode(one)))]
        for (const { at, how, byte } of all) {
          const place = at % Math.max(1, bytes.length)
          if (how === 'flip') bytes[place] = byte
          else bytes.splice(place, how === 'drop' ? 1 : 0, ...(how === 'add' ? [byte] : []))
        }
        violations += onlyViolations(Uint8Array.from(bytes), lengths) ? 1 : 0
      }),
      { numRuns: FUZZ_CASES / 2 },
    )
    // The damage is such that both ways out are taken.
    expect(violations).toBeGreaterThan(FUZZ_CASES / 100)
    expect(violations).toBeLessThan(FUZZ_CASES / 2)
  })

  it.each([
    ['no message', 0],
    ['more data than a range has', 2 + RANGE_BYTES_MAX],
    ['all that four bytes can say', 0xffff_ffff],
  ])('refuses a frame with the length of %s as soon as it is announced', (_what, length) => {
    const header = encodeDataHeader(7, 1)
    header.writeUInt32BE(length, 4)
    expect(() => decode([header])).toThrow(ProtocolViolationError)
  })

  it('holds no message that is longer than any', () => {
    const header = encodeDataHeader(7, 1)
    header.writeUInt32BE(5_000, 4)
    header.writeUInt8(4, 8)
    expect(() => decode([header])).toThrow(ProtocolViolationError)
  })
})

/** True when it was one. */
function onlyViolations(bytes: Uint8Array, lengths: readonly number[]): boolean {
  try {
    const seen = decode(cut(bytes, lengths))
    for (const one of seen) {
      if ('data' in one) expect(one.data.length).toBeLessThanOrEqual(bytes.length)
    }
    return false
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolViolationError)
    return true
  }
}
