import { z } from 'zod'

import { duration, list, logLevel, parseEnv, port, type Env } from '../shared/config/env.ts'

/** The environment of the gateway. Functions inherit it, overlaid by what the stack file says. */
export const gatewayConfigSchema = z.object({
  BZZZ_GATEWAY_PORT: port.default(8080).describe('Port of the gateway'),
  BZZZ_GATEWAY_METRICS_PORT: port
    .default(8082)
    .describe('Port of the metrics of the gateway and of all its functions'),
  BZZZ_HOST: z.string().default('127.0.0.1').describe('Address that all listeners bind to'),
  BZZZ_PORT_OFFSET: z.coerce
    .number()
    .int()
    .min(0)
    .max(65_535)
    .default(0)
    .describe('Added to the ports that the stack file gives to functions'),
  BZZZ_STACK_FILE: z.string().default('./stack.yml').describe('The functions to run'),
  BZZZ_GATEWAY_DATA_DIR: z
    .string()
    .default('./data/gateway')
    .describe('Where deployments and secrets of the API are kept; made when there are any'),
  BZZZ_FUNCTION_URL: z
    .string()
    .optional()
    .describe('Where a platform runs the functions, such as http://{name}:8080; none run here'),
  BZZZ_FUNCTION_URLS: list
    .default([])
    .describe('Those that are elsewhere: resolve=http://bzzz-resolver:8080, comma separated'),
  BZZZ_FUNCTION_TIMEOUT: duration
    .default(600_000)
    .describe(
      'How long to wait for the head of an answer of such a function; then 504. Above its own',
    ),
  BZZZ_ENDPOINT: z
    .string()
    .default('http://127.0.0.1:9000')
    .describe('HTTP addresses of the daemons for functions, the own node’s first, comma separated'),
  BZZZ_TOKEN_KEYS_FILE: z.string().describe('JWK set with the public keys of the cluster’s tokens'),
  BZZZ_STOP_TIMEOUT: duration
    .default(4_000)
    .describe('How long requests in flight may take to end after SIGTERM; then they are cut'),
  BZZZ_CALLBACK_HOSTS: list
    .default(['127.0.0.1', 'localhost'])
    .describe('Hosts that X-Callback-Url may name, such as gateway,*.example.org; * for any'),
  BZZZ_ASYNC_ANONYMOUS: z
    .enum(['auto', 'on', 'off'])
    .default('auto')
    .describe(
      'Take asynchronous calls without a token, as OpenFaaS does; auto: on loopback only. ' +
        'Otherwise they need job:write',
    ),
  BZZZ_LOG_LEVEL: logLevel.describe('Least severe log line that is written'),
  DATABASE_URL: z
    .string()
    .optional()
    .describe('PostgreSQL for revoked tokens, audit rows, functions, and jobs without Redis'),
  BZZZ_AUDIT_SPOOL_DIR: z
    .string()
    .optional()
    .describe('Folder for audit rows while PostgreSQL is away; without it they wait in memory'),
  REDIS_URL: z.string().optional().describe('Redis, for jobs and for functions'),
})

export type GatewayConfig = z.output<typeof gatewayConfigSchema>

/** @throws InvalidConfigError with every problem */
export function readGatewayConfig(env: Env): GatewayConfig {
  return parseEnv(gatewayConfigSchema, env)
}
