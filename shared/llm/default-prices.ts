/**
 * List prices of common models in dollars a token, from the public price lists of their makers, as
 * a start: whoever is invoiced otherwise brings a file of his own (BZZZ_LLM_PRICES_FILE).
 */
const OPENAI = { litellm_provider: 'openai', mode: 'chat' }
const EMBEDDING = { litellm_provider: 'openai', mode: 'embedding', output_cost_per_token: 0 }
const ANTHROPIC = { litellm_provider: 'anthropic', mode: 'chat' }
const GEMINI = { litellm_provider: 'gemini', mode: 'chat' }

/** Prices are published for a million tokens. */
function chat(input: number, cached: number, output: number) {
  return {
    input_cost_per_token: perToken(input),
    cache_read_input_token_cost: perToken(cached),
    output_cost_per_token: perToken(output),
  }
}

/** Written out in decimals: 0.15 / 1e6 is not quite 1.5e-7. */
function perToken(usdPerMillion: number): number {
  return Number(`${usdPerMillion}e-6`)
}

const MODELS = {
  'gpt-4o': { ...OPENAI, ...chat(2.5, 1.25, 10) },
  'gpt-4o-mini': { ...OPENAI, ...chat(0.15, 0.075, 0.6) },
  'gpt-4.1': { ...OPENAI, ...chat(2, 0.5, 8) },
  'gpt-4.1-mini': { ...OPENAI, ...chat(0.4, 0.1, 1.6) },
  'gpt-4.1-nano': { ...OPENAI, ...chat(0.1, 0.025, 0.4) },
  o3: { ...OPENAI, ...chat(2, 0.5, 8) },
  'o4-mini': { ...OPENAI, ...chat(1.1, 0.275, 4.4) },
  'gpt-5': { ...OPENAI, ...chat(1.25, 0.125, 10) },
  'gpt-5-mini': { ...OPENAI, ...chat(0.25, 0.025, 2) },
  'gpt-5-nano': { ...OPENAI, ...chat(0.05, 0.005, 0.4) },
  'text-embedding-3-small': { ...EMBEDDING, input_cost_per_token: perToken(0.02) },
  'text-embedding-3-large': { ...EMBEDDING, input_cost_per_token: perToken(0.13) },
  'text-embedding-ada-002': { ...EMBEDDING, input_cost_per_token: perToken(0.1) },
  'claude-sonnet-4': {
    ...ANTHROPIC,
    ...chat(3, 0.3, 15),
    cache_creation_input_token_cost: perToken(3.75),
    input_cost_per_token_above_200k_tokens: perToken(6),
    output_cost_per_token_above_200k_tokens: perToken(22.5),
    cache_read_input_token_cost_above_200k_tokens: perToken(0.6),
    cache_creation_input_token_cost_above_200k_tokens: perToken(7.5),
  },
  'claude-opus-4': {
    ...ANTHROPIC,
    ...chat(15, 1.5, 75),
    cache_creation_input_token_cost: perToken(18.75),
  },
  'claude-3-5-haiku': {
    ...ANTHROPIC,
    ...chat(0.8, 0.08, 4),
    cache_creation_input_token_cost: perToken(1),
  },
  'gemini-2.5-pro': {
    ...GEMINI,
    input_cost_per_token: perToken(1.25),
    output_cost_per_token: perToken(10),
    input_cost_per_token_above_200k_tokens: perToken(2.5),
    output_cost_per_token_above_200k_tokens: perToken(15),
  },
  'gemini-2.5-flash': {
    ...GEMINI,
    input_cost_per_token: perToken(0.3),
    output_cost_per_token: perToken(2.5),
  },
}

/** As the file that it would be. */
export const DEFAULT_PRICES = `${JSON.stringify(MODELS, null, 2)}\n`
