import { z } from 'zod'

import { list } from '../../shared/config/env.ts'

/** Beside those of who may do what (`shared/auth/access.ts`). */
export const migrateV1ConfigSchema = z.object({
  BZZZ_ENDPOINT: list
    .default(['http://127.0.0.1:9000'])
    .describe('HTTP addresses of the daemons; entries are read back from another than the first'),
  DATABASE_URL: z
    .string()
    .optional()
    .describe('PostgreSQL, which holds how far each import is; without it there are none'),
  REDIS_URL: z.string().optional().describe('Redis, for jobs'),
})

export type MigrateV1Config = z.output<typeof migrateV1ConfigSchema>
