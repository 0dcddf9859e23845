import { z } from 'zod'

import { list } from '../../shared/config/env.ts'

/** Beside those of who may do what (`shared/auth/access.ts`). */
export const threadsConfigSchema = z.object({
  BZZZ_ENDPOINT: list
    .default(['http://127.0.0.1:9000'])
    .describe('HTTP addresses of the daemons, the own node’s first, comma separated'),
  DATABASE_URL: z
    .string()
    .optional()
    .describe('PostgreSQL with the index over threads; without it every route answers 503'),
})

export type ThreadsConfig = z.output<typeof threadsConfigSchema>
