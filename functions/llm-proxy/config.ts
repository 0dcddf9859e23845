import { z } from 'zod'

import { list, size } from '../../shared/config/env.ts'
import { BODIES_BYTES_MAX } from './constants.ts'

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
