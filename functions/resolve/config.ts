import { z } from 'zod'

import { duration, list, size } from '../../shared/config/env.ts'
import { MiB, PUT_BYTES_MAX } from '../../shared/limits.ts'

export const resolveConfigSchema = z.object({
  BZZZ_ENDPOINT: list
    .default(['http://127.0.0.1:9000'])
    .describe('HTTP addresses of the daemons, the own node’s first, comma separated'),
  BZZZ_PUT_BYTES_MAX: size
    .default(PUT_BYTES_MAX)
    .describe('Largest body of a put, such as 512MiB; more is refused with 413'),
  BZZZ_RESOLVE_CACHE_TTL: duration
    .default(1_000)
    .describe('How long an address may be answered from the cache; 0ms asks the daemon each time'),
  BZZZ_RESOLVE_CONTENT_BYTES: size
    .default(64 * MiB)
    .describe('Memory for small content, which never changes under its hash'),
  DATABASE_URL: z
    .string()
    .optional()
    .describe('PostgreSQL, where names of v1 are looked up; addresses need none'),
  REDIS_URL: z.string().optional().describe('Redis, to share the cache between replicas'),
})

export type ResolveConfig = z.output<typeof resolveConfigSchema>
