import { z } from 'zod'

import { isHash } from '../blob/hash.ts'
import { InvalidRecordError } from '../errors.ts'
import { MiB } from '../limits.ts'

/** By it the address of a batch of exchanges is known from others. */
export const EXCHANGES_MEDIA_TYPE = 'application/vnd.bzzz.exchanges+json'

/** Exchanges in one batch: about 250 KiB, rewritten while they end. */
export const EXCHANGES_PER_BATCH_MAX = 256

/** Longer ones are not read. */
export const EXCHANGES_BYTES_MAX = 4 * MiB

const hash = z.string().refine(isHash)
const count = z.int().min(0)

const bodySchema = z.object({
  hash,
  sizeBytes: count,
  mediaType: z.string(),
  /** What is stored is not what was sent: rules took something out. */
  redacted: z.boolean(),
})

const exchangeSchema = z.object({
  id: z.uuid(),
  at: z.iso.datetime(),
  tokenId: z.string(),
  subject: z.string(),
  project: z.string(),
  agent: z.string(),
  method: z.string(),
  path: z.string(),
  /** As asked for. */
  model: z.string(),
  servedModel: z.string(),
  upstream: z.string(),
  peer: z.string().nullable(),
  status: z.int(),
  outcome: z.enum(['complete', 'cut', 'aborted', 'failed']),
  cached: z.boolean(),
  /** Null: only the fact is recorded; `withheld` says why. */
  request: bodySchema.nullable(),
  response: bodySchema.nullable(),
  withheld: z.enum(['mode', 'overload', 'too-large', 'not-text']).nullable(),
  usage: z
    .object({
      inputTokens: count,
      cachedInputTokens: count,
      cacheWriteTokens: count,
      outputTokens: count,
      reasoningTokens: count,
      images: count.exactOptional(),
      estimated: z.boolean(),
    })
    .nullable(),
  costNanoUsd: z.string().regex(/^\d{1,18}$/),
  priced: z.boolean(),
  /** Hash of the price map, which is a blob as well; empty where cost is not tracked. */
  priceMap: z.string(),
  firstByteMs: z.number().nullable(),
  totalMs: z.number(),
})

const batchSchema = z.object({
  format: z.literal('bzzz-exchanges/1'),
  exchanges: z.array(exchangeSchema).max(EXCHANGES_PER_BATCH_MAX),
})

/** What is kept of one model call. */
export type Exchange = z.infer<typeof exchangeSchema>
export type ExchangeBody = z.infer<typeof bodySchema>

export function encodeExchange(exchange: Exchange): string {
  return JSON.stringify(exchange)
}

/**
 * The content of a batch's address: exchanges that began about the same time, as they ended, each
 * encoded before.
 */
export function joinExchanges(encoded: readonly string[]): Buffer {
  return Buffer.from(`{"format":"bzzz-exchanges/1","exchanges":[${encoded.join(',')}]}`)
}

export function encodeExchanges(exchanges: readonly Exchange[]): Buffer {
  return joinExchanges(exchanges.map(encodeExchange))
}

/** @throws InvalidRecordError */
export function decodeExchanges(bytes: Uint8Array): Exchange[] {
  if (bytes.length > EXCHANGES_BYTES_MAX) throw new InvalidRecordError('The batch is too long.')
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return batchSchema.parse(JSON.parse(text)).exchanges
  } catch (error) {
    throw new InvalidRecordError('This is no batch of exchanges.', { cause: error })
  }
}

/** Every blob that the exchanges refer to. */
export function blobsOf(exchanges: readonly Exchange[]): string[] {
  const named = exchanges.flatMap(({ request, response, priceMap }) => [
    request?.hash,
    response?.hash,
    priceMap === '' ? undefined : priceMap,
  ])
  return [...new Set(named.filter((one) => one !== undefined))]
}
