import { z } from 'zod'

/** A name or a path that is longer is cut: rows are counted, not read. */
const TEXT_CHARS_MAX = 512

/** What a database cannot store is taken out, or one row would stop all that come after it. */
const text = z
  .string()
  .transform((given) => given.replaceAll('\0', '').slice(0, TEXT_CHARS_MAX).toWellFormed())

/** Upstreams are not trusted to count in whole numbers. */
const count = z
  .number()
  .catch(0)
  .transform((given) => Math.min(Math.max(Math.round(given), 0), 1e12))

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
  costNanoUsd: z.string().regex(/^\d{1,18}$/),
  priced: z.boolean(),
  priceMap: text,
  firstByteMs: count.nullable(),
  totalMs: count,
  /** Address of the exchange; null where nothing was recorded. */
  exchange: text.nullable(),
})

/** What one model call used and cost. */
export type UsageRow = z.infer<typeof rowSchema>

export function createUsageRow(row: UsageRow): UsageRow {
  return rowSchema.parse(row)
}

/** One line of a spool file. @throws when it is not one */
export function parseUsageRow(line: string): UsageRow {
  return rowSchema.parse(JSON.parse(line))
}
