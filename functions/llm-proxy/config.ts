import { z } from 'zod'

import { flag, list, size } from '../../shared/config/env.ts'
import { BODIES_BYTES_MAX } from './constants.ts'
import { RECORD_BYTES_DEFAULT } from './exchanges/constants.ts'

export const OPENAI_BASE_URL_DEFAULT = 'https://api.openai.com/v1'

/** Beside those of who may do what (`shared/auth/access.ts`). */
export const llmProxyConfigSchema = z.object({
  BZZZ_ENDPOINT: list
    .default(['http://127.0.0.1:9000'])
    .describe('HTTP addresses of the daemons, the own node’s first, comma separated'),
  BZZZ_LLM_CONFIG_FILE: z
    .string()
    .optional()
    .describe(
      'Upstreams, models, cache as YAML or JSON; else the secret `llm-proxy-config`, else the next two',
    ),
  OPENAI_BASE_URL: z
    .url({ protocol: /^https?$/ })
    .default(OPENAI_BASE_URL_DEFAULT)
    .describe('The one upstream where there is no such file'),
  OPENAI_API_KEY: z
    .string()
    .optional()
    .describe('Its key; else the secret `openai-api-key`. The file is read again when it changes'),
  BZZZ_LLM_BODIES_BYTES: size
    .default(BODIES_BYTES_MAX)
    .describe('Memory for the bodies of all requests at once; more are answered with 429'),
})

export type LLMProxyConfig = z.output<typeof llmProxyConfigSchema>

/** What decides about limits, cost and the record of calls, beside the above. */
export const accountingConfigSchema = z.object({
  RATE_LIMIT_RPM: z.coerce
    .number()
    .int()
    .min(1)
    .optional()
    .describe('Requests a minute of the whole cluster; further rules come from the next file'),
  BZZZ_LLM_LIMITS_FILE: z
    .string()
    .optional()
    .describe('Rules of limits and budgets as JSON, read again when it changes'),
  BZZZ_LLM_LIMITS_AWAY_RPM: z.coerce
    .number()
    .int()
    .min(0)
    .default(0)
    .describe(
      'Requests a minute that each replica lets through while their store is away; 0 answers 503',
    ),
  COST_TRACKING_ENABLED: flag
    .default(true)
    .describe('false: calls cost nothing and no budget is ever spent'),
  BZZZ_LLM_PRICES_FILE: z
    .string()
    .optional()
    .describe('Prices in LiteLLM’s format, read again when they change; else those of bzzz'),
  BZZZ_LLM_RECORD: z
    .enum(['off', 'metadata', 'full'])
    .default('full')
    .describe('What is recorded of each exchange where there is no next file'),
  BZZZ_LLM_RECORD_FILE: z
    .string()
    .optional()
    .describe('Modes by project and redactions as JSON, read again when it changes'),
  BZZZ_LLM_RECORD_BYTES: size
    .default(RECORD_BYTES_DEFAULT)
    .describe('Memory for bodies that wait to be recorded; beyond it only metadata is kept'),
  BZZZ_LLM_RECORD_TOKEN: z
    .string()
    .optional()
    .describe('Token that exchanges are stored under; else each caller’s, which must allow it'),
  BZZZ_LLM_SPOOL_DIR: z
    .string()
    .optional()
    .describe('Folder for usage rows while PostgreSQL is away; without it they wait in memory'),
  DATABASE_URL: z
    .string()
    .optional()
    .describe('PostgreSQL for usage, threads, and limits where there is no Redis'),
  REDIS_URL: z.string().optional().describe('Redis for limits'),
})

export type AccountingConfig = z.output<typeof accountingConfigSchema>
