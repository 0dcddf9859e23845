import type { ShareUse } from './limit-store.ts'
import type { RuleShare } from './rules.ts'

/**
 * `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` as OpenAI's clients know them: of the
 * rule with the least left, where several count the same.
 */
export function limitHeaders(
  shares: readonly RuleShare[],
  uses: readonly ShareUse[],
): Record<string, string> {
  return {
    ...headersOf('requests', shares, uses),
    ...headersOf('tokens', shares, uses),
  }
}

function headersOf(
  kind: 'requests' | 'tokens',
  shares: readonly RuleShare[],
  uses: readonly ShareUse[],
): Record<string, string> {
  let least: { limit: number; remaining: number; resetMs: number } | undefined
  for (const [index, { bounds }] of shares.entries()) {
    const limit = kind === 'requests' ? bounds.requestsPerMinute : bounds.tokensPerMinute
    const use = uses[index]
    if (limit === undefined || !use) continue
    const remaining = Math.max(limit - use[kind], 0)
    if (!least || remaining < least.remaining) least = { limit, remaining, resetMs: use.resetMs }
  }
  if (!least) return {}
  return {
    [`x-ratelimit-limit-${kind}`]: String(least.limit),
    [`x-ratelimit-remaining-${kind}`]: String(least.remaining),
    [`x-ratelimit-reset-${kind}`]: `${Math.ceil(least.resetMs / 1000)}s`,
  }
}
