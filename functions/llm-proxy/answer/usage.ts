import { NO_USAGE, type ModelUsage } from '../../../shared/llm/model-usage.ts'

/** The same four letters a token as for requests; see body/model-request.ts. */
const BYTES_PER_TOKEN = 4

/**
 * The `usage` of an answer as OpenAI and those who speak like it write it: `prompt_tokens` in chats
 * and embeddings, `input_tokens` in responses and images. Null where it says nothing of tokens.
 */
export function readUsage(value: unknown): ModelUsage | null {
  if (typeof value !== 'object' || value === null) return null
  const usage = value as Record<string, unknown>
  const input = count(usage['prompt_tokens']) ?? count(usage['input_tokens'])
  const output = count(usage['completion_tokens']) ?? count(usage['output_tokens'])
  if (input === null && output === null) return null
  const inputDetails = detailsOf(usage, 'prompt_tokens_details', 'input_tokens_details')
  const outputDetails = detailsOf(usage, 'completion_tokens_details', 'output_tokens_details')
  return {
    inputTokens: input ?? 0,
    cachedInputTokens:
      count(inputDetails['cached_tokens']) ?? count(usage['prompt_cache_hit_tokens']) ?? 0,
    cacheWriteTokens:
      count(inputDetails['cache_write_tokens']) ?? count(usage['cache_creation_input_tokens']) ?? 0,
    outputTokens: output ?? 0,
    reasoningTokens: count(outputDetails['reasoning_tokens']) ?? 0,
    estimated: false,
  }
}

/** Where the upstream does not tell: by the bytes of what was asked and answered. */
export function estimateUsage(
  asked: { inputTokens: number; images: number },
  answerTextBytes: number,
): ModelUsage {
  const { inputTokens, images } = asked
  const outputTokens = Math.ceil(answerTextBytes / BYTES_PER_TOKEN)
  return { ...NO_USAGE, inputTokens, outputTokens, ...(images > 0 && { images }), estimated: true }
}

function detailsOf(usage: Record<string, unknown>, ...names: string[]): Record<string, unknown> {
  for (const name of names) {
    const details = usage[name]
    if (typeof details === 'object' && details !== null) return details as Record<string, unknown>
  }
  return {}
}

/** A negative or broken number is a mistake that must not become money. */
function count(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null
}
