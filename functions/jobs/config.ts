import { z } from 'zod'

import { list } from '../../shared/config/env.ts'

/** Beside those of who may do what (`shared/auth/access.ts`). */
export const jobsConfigSchema = z.object({
  BZZZ_CALLBACK_HOSTS: list
    .default(['127.0.0.1', 'localhost'])
    .describe('Hosts that callbackUrl may name, as at the gateway'),
  DATABASE_URL: z.string().optional().describe('PostgreSQL, for jobs where there is no Redis'),
  REDIS_URL: z.string().optional().describe('Redis, for jobs'),
})

export type JobsConfig = z.output<typeof jobsConfigSchema>
