import { z } from 'zod'

import { duration, logLevel, port } from '../config/env.ts'

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

/** What a function understands when it has a process of its own, beside `hostConfigSchema`. */
export const serveConfigSchema = z.object({
  port: port.default(8080).describe('Port that the function listens on.'),
  BZZZ_HOST: z
    .string()
    .default('0.0.0.0')
    .describe('Address that the function binds to; every one of its container by default.'),
  mode: z
    .string()
    .optional()
    .describe('`http` when of-watchdog runs the function; set by its images, together with:'),
  upstream_url: z
    .url({ protocol: /^http$/ })
    .optional()
    .describe('Where of-watchdog looks for the function. In its mode `http` this is listened on.'),
  healthcheck_interval: seconds
    .prefault('1s')
    .describe('After SIGTERM readiness is lost, and this long the function still takes requests.'),
  drain_timeout: seconds
    .prefault('8s')
    .describe('After that, how long requests in flight may take before they are cut.'),
  OPENFAAS_NAME: z.string().default('function').describe('Name in logs and metrics.'),
  BZZZ_LOG_LEVEL: logLevel.describe('Least severe log line that is written.'),
})

export type ServeConfig = z.output<typeof serveConfigSchema>
