import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { DATA_BYTES_MAX, RANGE_BYTES_MAX } from '../../../p2p-daemon/transfer/constants.ts'
import {
  decodeMessage,
  encodeMessage,
  REQUEST_MESSAGE_BYTES_MAX,
  type RangeMessage,
} from '../../../p2p-daemon/transfer/range-message.ts'
import { ProtocolViolationError } from '../../../shared/errors.ts'

const RUNS = 10_000

const size = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER - RANGE_BYTES_MAX })
const hash = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((b) => Buffer.from(b).toString('hex'))
const message: fc.Arbitrary<RangeMessage> = fc.oneof(
  fc.record({
    type: fc.constant('range' as const),
    hash,
    start: size,
    length: fc.integer({ min: 1, max: RANGE_BYTES_MAX }),
  }),
  fc
    .record({
      start: size,
      length: fc.integer({ min: 0, max: RANGE_BYTES_MAX }),
      rest: fc.nat(1e6),
    })
    .map(({ start, length, rest }) => {
      const sizeBytes = Math.min(start + length + rest, Number.MAX_SAFE_INTEGER)
      return { type: 'head' as const, sizeBytes, start, length }
    }),
  fc
    .uint8Array({ minLength: 1, maxLength: 300 })
    .map((bytes) => ({ type: 'data' as const, bytes: Buffer.from(bytes) })),
  fc.record({
    type: fc.constant('error' as const),
    code: fc.string({ maxLength: 64 }),
    message: fc.string({ maxLength: 200 }),
    sizeBytes: fc.nat(),
  }),
)

describe('range-message', () => {
  it('comes out as it went in', () => {
    fc.assert(
      fc.property(message, (sent) => {
        expect(decodeMessage(encodeMessage(sent))).toEqual(sent)
      }),
      { numRuns: 1000 },
    )
  })

  it('reads any bytes as a message or a violation', () => {
    // Mostly with a first byte that means something, so that more than the type is looked at.
    const bytes = fc
      .tuple(fc.integer({ min: 0, max: 6 }), fc.uint8Array({ maxLength: 64 }))
      .map(([type, rest]) => Buffer.from([type, ...rest]))
    fc.assert(fc.property(bytes, expectMessageOrViolation), { numRuns: RUNS })
  })

  it('reads a message with flipped, lost and added bytes as a message or a violation', () => {
    const damaged = fc
      .tuple(message, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.integer({ min: -9, max: 9 }))
      .map(([sent, at, flip, grow]) => {
        const bytes = Buffer.concat([encodeMessage(sent), Buffer.alloc(Math.max(0, grow), flip)])
        const index = at % bytes.length
        bytes[index] = (bytes[index] ?? 0) ^ flip
        return bytes.subarray(0, bytes.length + Math.min(0, grow))
      })
    fc.assert(fc.property(damaged, expectMessageOrViolation), { numRuns: RUNS })
  })

  it('holds a request to the length that the server makes room for', () => {
    fc.assert(
      fc.property(message, (sent) => {
        if (sent.type !== 'range') return
        expect(encodeMessage(sent)).toHaveLength(REQUEST_MESSAGE_BYTES_MAX)
      }),
    )
  })
})

function expectMessageOrViolation(bytes: Uint8Array): void {
  let decoded: RangeMessage
  try {
    decoded = decodeMessage(bytes)
  } catch (error) {
    expect(error).toBeInstanceOf(ProtocolViolationError)
    return
  }
  if (decoded.type === 'range') {
    expect(decoded.length).toBeGreaterThan(0)
    expect(decoded.length).toBeLessThanOrEqual(RANGE_BYTES_MAX)
  }
  if (decoded.type === 'head') {
    expect(decoded.start + decoded.length).toBeLessThanOrEqual(decoded.sizeBytes)
  }
  if (decoded.type === 'data') expect(decoded.bytes.length).toBeLessThanOrEqual(DATA_BYTES_MAX)
}
