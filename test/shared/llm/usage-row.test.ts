import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { createUsageRow, parseUsageRow, type UsageRow } from '../../../shared/llm/usage-row.ts'

const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constant('a\0b\ud800'), longText())
const count = fc.oneof(fc.double(), fc.integer())

function longText() {
  return fc.string({ minLength: 500, maxLength: 600 })
}

const usage = fc.record(
  {
    inputTokens: count,
    cachedInputTokens: count,
    cacheWriteTokens: count,
    outputTokens: count,
    reasoningTokens: count,
    images: count,
    estimated: fc.boolean(),
  },
  {
    requiredKeys: [
      'inputTokens',
      'cachedInputTokens',
      'cacheWriteTokens',
      'outputTokens',
      'reasoningTokens',
      'estimated',
    ],
  },
)

const row: fc.Arbitrary<UsageRow> = fc.record({
  id: fc.uuid(),
  at: fc.constant('2031-05-14T11:59:58.250Z'),
  ...{ tokenId: text, subject: text, project: text, agent: text, path: text },
  ...{ model: text, servedModel: text, upstream: text, peer: fc.option(text) },
  ...{ status: fc.integer({ min: 0, max: 599 }), outcome: text, cached: fc.boolean(), usage },
  costNanoUsd: fc.bigInt({ min: 0n, max: 10n ** 18n - 1n }).map(String),
  ...{ priced: fc.boolean(), priceMap: text, firstByteMs: fc.option(count), totalMs: count },
  exchange: fc.option(text),
})

describe('usage-row', () => {
  it('is made as the schema reads it, whatever an upstream counted', () => {
    fc.assert(
      fc.property(row, (given) => {
        const made = createUsageRow(given)
        expect(parseUsageRow(JSON.stringify(made))).toEqual(made)
      }),
    )
  })

  it('refuses a cost that no column takes', () => {
    const [given] = fc.sample(row, { numRuns: 1, seed: 1 })
    expect(() => createUsageRow({ ...given!, costNanoUsd: '9'.repeat(19) })).toThrow('digits')
    expect(() => createUsageRow({ ...given!, costNanoUsd: '-1' })).toThrow('digits')
  })
})
