import { z } from 'zod'

import { hashBytes } from '../blob/hash.ts'
import type { ModelUsage } from './model-usage.ts'

/** What a call cost, and by which price map. */
export interface Cost {
  /** Billionths of a dollar: whole numbers add up, fractions do not. */
  nanoUsd: bigint
  /** False where the map has no price for the model; then the cost is 0. */
  priced: boolean
  /** BLAKE3 of the file. */
  priceMapHash: string
}

/** Prices in the unit in which the cheapest token of a cheap model is still a whole number. */
const FEMTO_PER_USD = 1e15
const FEMTO_PER_NANO = 1_000_000n

/** A map of every model there is has some thousands. */
const MODELS_MAX = 20_000

const price = z.number().min(0).max(9_000)

const COSTS = [
  'input_cost_per_token',
  'output_cost_per_token',
  'cache_read_input_token_cost',
  'cache_creation_input_token_cost',
  'output_cost_per_reasoning_token',
] as const

type CostName = (typeof COSTS)[number]

/** Longer prompts are dearer as a whole: `input_cost_per_token_above_200k_tokens`. */
const TIER = /^(.+)_above_(\d+)k_tokens$/

const modelSchema = z
  .looseObject({
    ...Object.fromEntries(COSTS.map((name) => [name, price.nullish()])),
    output_cost_per_image: price.nullish(),
    input_cost_per_image: price.nullish(),
  })
  .transform((given) => priceOf(given))

/** In LiteLLM's `model_prices_and_context_window.json`; `sample_spec` explains the others there. */
const mapSchema = z
  .record(z.string(), z.unknown())
  .refine((models) => Object.keys(models).length <= MODELS_MAX, `more than ${MODELS_MAX} models`)
  .transform(({ sample_spec: _explained, ...models }) => models)
  .pipe(z.record(z.string(), modelSchema))

type Rates = Partial<Record<CostName, bigint>>

interface ModelPrice {
  rates: Rates
  /** The highest first: those that count from more input tokens than this. */
  tiers: { above: number; rates: Rates }[]
  image: bigint | undefined
}

function priceOf(given: Record<string, unknown>): ModelPrice | null {
  const rates: Rates = {}
  const tiers = new Map<number, Rates>()
  for (const [key, value] of Object.entries(given)) {
    const [, name = key, thousands] = TIER.exec(key) ?? []
    if (!isCost(name) || value === null || value === undefined) continue
    const rate = toFemto(price.parse(value))
    if (thousands === undefined) rates[name] = rate
    else {
      const above = Number(thousands) * 1000
      tiers.set(above, { ...tiers.get(above), [name]: rate })
    }
  }
  const image = given['output_cost_per_image'] ?? given['input_cost_per_image']
  const isPriced = Object.keys(rates).length > 0 || typeof image === 'number'
  if (!isPriced) return null
  return {
    rates,
    tiers: [...tiers]
      .map(([above, dearer]) => ({ above, rates: dearer }))
      .toSorted((left, right) => right.above - left.above),
    image: typeof image === 'number' ? toFemto(image) : undefined,
  }
}

function isCost(name: string): name is CostName {
  return (COSTS as readonly string[]).includes(name)
}

function toFemto(usd: number): bigint {
  return BigInt(Math.round(usd * FEMTO_PER_USD))
}

/** Answers name the version of the day: `gpt-4o-2024-08-06`, `claude-sonnet-4-20250514`. */
const DATED = /-(\d{4}-\d{2}-\d{2}|\d{8})$/

/** Prices of models, each version known by the hash of its file. */
export class PriceMap {
  readonly hash: string
  readonly #models: ReadonlyMap<string, ModelPrice | null>

  /** @throws ZodError, SyntaxError */
  constructor(text: string) {
    this.hash = hashBytes(Buffer.from(text))
    this.#models = new Map(Object.entries(mapSchema.parse(JSON.parse(text))))
  }

  /** Half a nano-dollar is rounded up, once for the whole call. */
  cost(model: string, usage: ModelUsage, provider?: string): Cost {
    const found = this.#find(model, provider)
    if (!found) return { nanoUsd: 0n, priced: false, priceMapHash: this.hash }
    const tier = found.tiers.find(({ above }) => usage.inputTokens > above)
    const femto = tokensCost({ ...found.rates, ...tier?.rates }, usage)
    const images = BigInt(usage.images ?? 0) * (found.image ?? 0n)
    const nanoUsd = (femto + images + FEMTO_PER_NANO / 2n) / FEMTO_PER_NANO
    return { nanoUsd, priced: true, priceMapHash: this.hash }
  }

  /** As it stands, behind its provider, without its provider, without its date. */
  #find(model: string, provider: string | undefined): ModelPrice | null | undefined {
    const bare = model.slice(model.indexOf('/') + 1)
    for (const name of [model, model.replace(DATED, ''), bare, bare.replace(DATED, '')]) {
      const behind = provider && this.#models.get(`${provider}/${name}`)
      const found = behind || this.#models.get(name)
      if (found) return found
    }
    return undefined
  }
}

/** What has no price of its own costs what its kind costs; no part is more than its whole. */
function tokensCost(rates: Rates, usage: ModelUsage): bigint {
  const input = count(usage.inputTokens)
  const cached = atMost(count(usage.cachedInputTokens), input)
  const written = atMost(count(usage.cacheWriteTokens), input - cached)
  const output = count(usage.outputTokens)
  const reasoning = atMost(count(usage.reasoningTokens), output)
  const inputRate = rates.input_cost_per_token ?? 0n
  const outputRate = rates.output_cost_per_token ?? 0n
  return (
    (input - cached - written) * inputRate +
    cached * (rates.cache_read_input_token_cost ?? inputRate) +
    written * (rates.cache_creation_input_token_cost ?? inputRate) +
    (output - reasoning) * outputRate +
    reasoning * (rates.output_cost_per_reasoning_token ?? outputRate)
  )
}

/** Upstreams are not trusted to send whole numbers. */
function count(tokens: number): bigint {
  return Number.isFinite(tokens) && tokens > 0 ? BigInt(Math.round(tokens)) : 0n
}

function atMost(part: bigint, whole: bigint): bigint {
  return part < whole ? part : whole
}
