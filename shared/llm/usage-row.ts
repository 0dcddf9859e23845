import { z } from 'zod'

import { wholeCount, wholeUsage } from './model-usage.ts'

/** A name or a path that is longer is cut: rows are counted, not read. */
const TEXT_CHARS_MAX = 512

/** What a database cannot store is taken out, or one row would stop all that come after it. */
function clean(given: string): string {
  return given.replaceAll('\0', '').slice(0, TEXT_CHARS_MAX).toWellFormed()
}

const COST = /^\d{1,18}$/

const text = z.string().transform(clean)
const count = z.number().catch(0).transform(wholeCount)

const usage = z.object({
  inputTokens: count,
  cachedInputTokens: count,
  cacheWriteTokens: count,
  outputTokens: count,
  reasoningTokens: count,
  images: count.exactOptional(),
  estimated: z.boolean(),
})

const rowSchema = z.object({
  /** Of the exchange. */
  id: z.uuid(),
  at: z.iso.datetime({ precision: 3 }),
  tokenId: text,
  subject: text,
  project: text,
  agent: text,
  path: text,
  /** As asked for. */
  model: text,
  servedModel: text,
  upstream: text,
  peer: text.nullable(),
  status: z.int(),
  outcome: text,
  /** Answered from the exact cache. */
  cached: z.boolean(),
  usage,
  /** Decimal digits: JSON has no integers of this size. */
  costNanoUsd: z.string().regex(COST),
  priced: z.boolean(),
  priceMap: text,
  firstByteMs: count.nullable(),
  totalMs: count,
  /** Address of the exchange; null where nothing was recorded. */
  exchange: text.nullable(),
})

/** What one model call used and cost. */
export type UsageRow = z.infer<typeof rowSchema>

/**
 * The row as it can be stored: what the schema makes of it, at a fraction of its price.
 * @throws when it costs what no column takes
 */
export function createUsageRow(row: UsageRow): UsageRow {
  if (!COST.test(row.costNanoUsd)) throw new Error('A cost of more digits than are kept.')
  return {
    id: row.id,
    at: row.at,
    tokenId: clean(row.tokenId),
    subject: clean(row.subject),
    project: clean(row.project),
    agent: clean(row.agent),
    path: clean(row.path),
    model: clean(row.model),
    servedModel: clean(row.servedModel),
    upstream: clean(row.upstream),
    peer: row.peer === null ? null : clean(row.peer),
    status: row.status,
    outcome: clean(row.outcome),
    cached: row.cached,
    usage: wholeUsage(row.usage),
    costNanoUsd: row.costNanoUsd,
    priced: row.priced,
    priceMap: clean(row.priceMap),
    firstByteMs: row.firstByteMs === null ? null : wholeCount(row.firstByteMs),
    totalMs: wholeCount(row.totalMs),
    exchange: row.exchange === null ? null : clean(row.exchange),
  }
}

/** One line of a spool file. @throws when it is not one */
export function parseUsageRow(line: string): UsageRow {
  return rowSchema.parse(JSON.parse(line))
}
