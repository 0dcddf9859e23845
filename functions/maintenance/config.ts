import { z } from 'zod'

import { list } from '../../shared/config/env.ts'

/** Beside those of who may do what (`shared/auth/access.ts`). */
export const maintenanceConfigSchema = z.object({
  BZZZ_ENDPOINT: list
    .default(['http://127.0.0.1:9000'])
    .describe('HTTP addresses of all daemons that are to be looked after, comma separated'),
  DATABASE_URL: z
    .string()
    .optional()
    .describe('PostgreSQL, where rows of expired tokens are removed'),
})

export type MaintenanceConfig = z.output<typeof maintenanceConfigSchema>
