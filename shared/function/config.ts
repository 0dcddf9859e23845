import { z } from 'zod'

import { duration } from '../config/env.ts'

/** OpenFaaS writes durations as `30s` or as whole seconds. */
const seconds = z
  .string()
  .transform((text) => (/^\d+$/.test(text) ? `${text}s` : text))
  .pipe(duration)

/** What every function understands, under the names that OpenFaaS's watchdog gave them. */
export const hostConfigSchema = z.object({
  exec_timeout: seconds
    .prefault('30s')
    .describe('Longest time a request may take; then 504, or the stream is cut. 0 means none.'),
  max_inflight: z.coerce
    .number()
    .int()
    .min(1)
    .default(256)
    .describe('Requests served at once; more are answered with 429 and Retry-After.'),
})

export type HostConfig = z.output<typeof hostConfigSchema>
