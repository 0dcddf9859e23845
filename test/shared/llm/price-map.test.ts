import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { DEFAULT_PRICES } from '../../../shared/llm/default-prices.ts'
import { NO_USAGE, type ModelUsage } from '../../../shared/llm/model-usage.ts'
import { PriceMap } from '../../../shared/llm/price-map.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'

const used = (usage: Partial<ModelUsage>): ModelUsage => ({ ...NO_USAGE, ...usage })

const map = (models: Record<string, unknown>) => new PriceMap(JSON.stringify(models))

describe('price-map', () => {
  const prices = new PriceMap(DEFAULT_PRICES)

  it('is known by the hash of its file', () => {
    expect(prices.hash).toBe(hashBytes(Buffer.from(DEFAULT_PRICES)))
    expect(prices.cost('gpt-4o', NO_USAGE).priceMapHash).toBe(prices.hash)
  })

  it('prices input and output', () => {
    const usage = used({ inputTokens: 1_000, outputTokens: 500 })
    // 1,000 at $2.50 and 500 at $10.00 the million.
    expect(prices.cost('gpt-4o', usage)).toMatchObject({ nanoUsd: 7_500_000n, priced: true })
  })

  it('prices cached and written tokens as part of the input', () => {
    const usage = used({
      ...{ inputTokens: 1_000, cachedInputTokens: 600, cacheWriteTokens: 100 },
      outputTokens: 10,
    })
    // 300 at $3.00, 600 at $0.30, 100 at $3.75, 10 at $15.00 the million.
    expect(prices.cost('claude-sonnet-4', usage).nanoUsd).toBe(
      300n * 3_000n + 600n * 300n + 100n * 3_750n + 10n * 15_000n,
    )
  })

  it('prices a long prompt as a whole by its tier', () => {
    const usage = used({ inputTokens: 200_000, cachedInputTokens: 50_000, outputTokens: 100 })
    const below = 150_000n * 3_000n + 50_000n * 300n + 100n * 15_000n
    expect(prices.cost('claude-sonnet-4', usage).nanoUsd).toBe(below)
    const above = 150_001n * 6_000n + 50_000n * 600n + 100n * 22_500n
    const longer = { ...usage, inputTokens: 200_001 }
    expect(prices.cost('claude-sonnet-4', longer).nanoUsd).toBe(above)
  })

  it('prices reasoning by itself where it has a price, else as output', () => {
    const usage = used({ outputTokens: 100, reasoningTokens: 60 })
    const own = map({ m: { output_cost_per_token: 1e-6, output_cost_per_reasoning_token: 3e-6 } })
    expect(own.cost('m', usage).nanoUsd).toBe(40n * 1_000n + 60n * 3_000n)
    expect(prices.cost('gpt-5', usage).nanoUsd).toBe(100n * 10_000n)
  })

  it('prices embeddings and images', () => {
    const usage = used({ inputTokens: 3 })
    expect(prices.cost('text-embedding-3-small', usage).nanoUsd).toBe(60n)
    const images = map({ 'dall-e-3': { output_cost_per_image: 0.04 } })
    expect(images.cost('dall-e-3', used({ images: 3 })).nanoUsd).toBe(120_000_000n)
  })

  it('knows a model by its provider and by its date', () => {
    const usage = used({ inputTokens: 1 })
    const both = map({
      m: { input_cost_per_token: 1e-9 },
      'azure/m': { input_cost_per_token: 2e-9 },
      'groq/n': { input_cost_per_token: 3e-9 },
    })
    expect(both.cost('m', usage).nanoUsd).toBe(1n)
    expect(both.cost('m', usage, 'azure').nanoUsd).toBe(2n)
    expect(both.cost('m-2026-01-31', usage, 'azure').nanoUsd).toBe(2n)
    expect(both.cost('n', usage, 'groq').nanoUsd).toBe(3n)
    expect(both.cost('openai/m-20260131', usage).nanoUsd).toBe(1n)
    expect(both.cost('n', usage)).toMatchObject({ nanoUsd: 0n, priced: false })
  })

  it('reads a map as LiteLLM writes it, and passes over what has no price', () => {
    const litellm = map({
      sample_spec: { input_cost_per_token: 'a price', max_tokens: 'LEGACY' },
      m: {
        ...{ max_tokens: 8192, litellm_provider: 'openai', mode: 'chat' },
        ...{ input_cost_per_token: 1e-6, supports_vision: true, cache_read_input_token_cost: null },
      },
      rerank: { input_cost_per_query: 0.002 },
    })
    const usage = used({ inputTokens: 10, cachedInputTokens: 4 })
    expect(litellm.cost('m', usage).nanoUsd).toBe(10_000n)
    expect(litellm.cost('rerank', usage).priced).toBe(false)
  })

  it.each([
    ['{"m": {"input_cost_per_token": "cheap"}}'],
    ['{"m": {"input_cost_per_token": -1}}'],
    ['{"m": {"output_cost_per_token_above_200k_tokens": "dear"}}'],
    ['[1]'],
    ['{'],
  ])('refuses %s', (text) => {
    expect(() => new PriceMap(text)).toThrow()
  })

  it('never costs less for more, whatever an upstream reports', () => {
    const tokens = fc.oneof(
      fc.integer({ min: -10, max: 400_000 }),
      fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, 1.5),
    )
    const usage = fc.record({
      ...{ inputTokens: tokens, cachedInputTokens: tokens, cacheWriteTokens: tokens },
      ...{ outputTokens: tokens, reasoningTokens: tokens, estimated: fc.boolean() },
    })
    fc.assert(
      fc.property(usage, fc.integer({ min: 1, max: 1_000 }), (given, more) => {
        const base = prices.cost('claude-sonnet-4', given).nanoUsd
        expect(base).toBeGreaterThanOrEqual(0n)
        const outputTokens = Math.max(
          Number.isFinite(given.outputTokens) ? given.outputTokens : 0,
          0,
        )
        const further = { ...given, outputTokens: outputTokens + more }
        expect(prices.cost('claude-sonnet-4', further).nanoUsd).toBeGreaterThanOrEqual(base)
      }),
    )
  })
})
