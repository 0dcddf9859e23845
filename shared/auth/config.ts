import { z } from 'zod'

import { list } from '../config/env.ts'

/** What decides about the access to a function. */
export const accessConfigSchema = z.object({
  BZZZ_TOKEN_KEYS_FILE: z.string().describe('JWK set with the public keys of the cluster’s tokens'),
  BZZZ_ENDPOINT: list
    .default(['http://127.0.0.1:9000'])
    .describe('HTTP addresses of the daemons, the own node’s first, comma separated'),
  DATABASE_URL: z.string().optional().describe('PostgreSQL for revoked tokens and audit rows'),
  BZZZ_AUDIT_SPOOL_DIR: z
    .string()
    .optional()
    .describe('Folder for audit rows while PostgreSQL is away; without it they wait in memory'),
})
