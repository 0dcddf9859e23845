/**
 * What a call used, in the terms in which it is priced. `inputTokens` and `outputTokens` are totals
 * as OpenAI counts them: cached and cache-write tokens are part of the input, reasoning tokens part
 * of the output.
 */
export interface ModelUsage {
  inputTokens: number
  /** Of the input: read from the provider's prompt cache. */
  cachedInputTokens: number
  /** Of the input: written to the provider's prompt cache. */
  cacheWriteTokens: number
  outputTokens: number
  /** Of the output: spent on thinking. */
  reasoningTokens: number
  /** Images that were made; absent where the call makes none. */
  images?: number
  /** The upstream did not tell, and the numbers were counted here. */
  estimated: boolean
}

export const NO_USAGE: Readonly<ModelUsage> = {
  inputTokens: 0,
  cachedInputTokens: 0,
  cacheWriteTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
  estimated: false,
}

/** Tokens that count against a limit of tokens. */
export function totalTokens(usage: ModelUsage): number {
  return usage.inputTokens + usage.outputTokens
}

/** Upstreams are not trusted to count in whole numbers. */
export function wholeCount(given: number): number {
  return Number.isFinite(given) ? Math.min(Math.max(Math.round(given), 0), 1e12) : 0
}

/** The usage as it can be stored. */
export function wholeUsage(usage: ModelUsage): ModelUsage {
  const { images, estimated } = usage
  return {
    inputTokens: wholeCount(usage.inputTokens),
    cachedInputTokens: wholeCount(usage.cachedInputTokens),
    cacheWriteTokens: wholeCount(usage.cacheWriteTokens),
    outputTokens: wholeCount(usage.outputTokens),
    reasoningTokens: wholeCount(usage.reasoningTokens),
    ...(images !== undefined && { images: wholeCount(images) }),
    estimated,
  }
}
