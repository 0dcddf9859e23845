import { z } from 'zod'

import { flag, size } from '../../shared/config/env.ts'
import { RECORD_BYTES_DEFAULT } from './exchanges/constants.ts'

/** What decides about limits, cost and the record of calls, beside `llmProxyConfigSchema`. */
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
    .describe('PostgreSQL for usage, and for limits where there is no Redis'),
  REDIS_URL: z.string().optional().describe('Redis for limits'),
})

export type AccountingConfig = z.output<typeof accountingConfigSchema>
