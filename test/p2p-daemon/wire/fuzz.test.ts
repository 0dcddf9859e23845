import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { DECODERS, type Decoder } from './decoders.ts'

/** Of all decoders together. */
const CASES = 100_000
const CASES_EACH = Math.ceil(CASES / DECODERS.length)

/** Values in places where others are expected. */
const strangeValue = fc.constantFrom<unknown>(
  ...[null, true, -1, 0, 0.5, 1e308, Number.MAX_SAFE_INTEGER + 2, '', '\u0000', '__proto__'],
  ...[[], {}, [[[[[[]]]]]], { constructor: 1 }, ['x'], [0, 0], 'a'.repeat(5_000)],
)

type Bytes = Buffer<ArrayBuffer>
type Change = (bytes: Bytes) => Bytes

/** A byte is changed, put in or taken out, or the end is missing. */
const byteChange: fc.Arbitrary<Change> = fc
  .tuple(fc.constantFrom('set', 'insert', 'delete', 'cut', 'repeat'), fc.nat(), fc.nat(255))
  .map(([kind, place, byte]) => (bytes: Bytes) => {
    const at = place % (bytes.length + 1)
    const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)]
    if (kind === 'cut') return before
    if (kind === 'repeat') return Buffer.concat([bytes, after])
    if (kind === 'delete') return Buffer.concat([before, after.subarray(1)])
    return Buffer.concat([before, Buffer.of(byte), kind === 'set' ? after.subarray(1) : after])
  })

/** A value of a JSON text is another one, or there is one more. */
const valueChange: fc.Arbitrary<Change> = fc
  .tuple(fc.nat(), strangeValue, fc.boolean())
  .map(([place, value, isMore]) => (bytes: Bytes) => {
    let parsed: unknown
    try {
      parsed = JSON.parse(bytes.toString())
    } catch {
      return bytes
    }
    if (typeof parsed !== 'object' || parsed === null) return bytes
    const holders: Record<string, unknown>[] = []
    const collect = (each: unknown): void => {
      if (typeof each !== 'object' || each === null) return
      holders.push(each as Record<string, unknown>)
      Object.values(each).forEach(collect)
    }
    collect(parsed)
    const holder = holders[place % holders.length]!
    const keys = Object.keys(holder)
    const key = isMore || keys.length === 0 ? 'more' : keys[place % keys.length]!
    holder[key] = value
    return Buffer.from(JSON.stringify(parsed))
  })

const changes = fc.array(fc.oneof(byteChange, valueChange), { minLength: 1, maxLength: 2 })

function hostileBytes({ samples }: Decoder): fc.Arbitrary<Uint8Array> {
  const damaged: fc.Arbitrary<Uint8Array> = fc
    .tuple(fc.constantFrom(...samples), changes)
    .map(([sample, all]) => all.reduce((bytes, change) => change(bytes), Buffer.from(sample)))
  const random: fc.Arbitrary<Uint8Array> = fc.uint8Array({ maxLength: 100 })
  return fc.oneof({ weight: 9, arbitrary: damaged }, { weight: 1, arbitrary: random })
}

describe('what peers send', () => {
  const { stackTraceLimit } = Error
  // Half the time of a refusal goes into the stack of its error, which nobody reads here.
  beforeAll(() => void (Error.stackTraceLimit = 0))
  afterAll(() => void (Error.stackTraceLimit = stackTraceLimit))

  it.each(DECODERS)('$name: is read when it is well formed', ({ decode, samples, refusals }) => {
    for (const sample of samples) {
      try {
        decode(sample)
      } catch (error) {
        // An answer that says no is well formed too.
        if (error?.constructor !== refusals[1]) throw error
      }
    }
  })

  it.each(DECODERS)('$name: is read or refused, whatever it is', (decoder) => {
    let refused = 0
    fc.assert(
      fc.property(hostileBytes(decoder), (bytes) => {
        try {
          decoder.decode(bytes)
        } catch (error) {
          if (!decoder.refusals.some((refusal) => error instanceof refusal)) throw error
          refused += 1
        }
      }),
      { numRuns: CASES_EACH },
    )
    expect(refused).toBeGreaterThan(0)
  })
})
