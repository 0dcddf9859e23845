import { fileURLToPath } from 'node:url'

import { z } from 'zod'

import { flag, list, parseEnv, port, type Env } from '../shared/config/env.ts'
import { PORT_OFFSET_MAX } from './up/constants.ts'

/** The environment of the commands that speak to a running cluster. */
export const cliConfigSchema = z.object({
  BZZZ_URL: z
    .url()
    .optional()
    .describe('Where addresses are resolved; the same as BZZZ_RESOLVE_URL'),
  BZZZ_RESOLVE_URL: z.url().optional().describe('Where addresses are resolved'),
  BZZZ_MCP_URL: z.url().optional().describe('The MCP endpoint, for bzzz mcp'),
  BZZZ_GATEWAY_URL: z.url().optional().describe('The gateway of the functions'),
  BZZZ_ENDPOINT: list
    .optional()
    .describe('HTTP addresses of the daemons, for bzzz status, comma separated'),
  BZZZ_TOKEN: z.string().optional().describe('Token to authenticate with'),
  BZZZ_DATA: z
    .string()
    .default('.bzzz')
    .describe('Data folder of bzzz up; tells endpoints and the admin token of a local cluster'),
  DATABASE_URL: z
    .string()
    .optional()
    .describe('PostgreSQL of the cluster, for bzzz token, audit, db and doctor'),
})

export type CliConfig = z.output<typeof cliConfigSchema>

/** The environment of `bzzz up`. What it sets for its parts is not listed: it is overwritten. */
export const upConfigSchema = z.object({
  BZZZ_DATA: z.string().default('.bzzz').describe('Data folder, unless --data names one'),
  BZZZ_PORT_OFFSET: port
    .pipe(z.int().max(PORT_OFFSET_MAX))
    .default(0)
    .describe('Added to every port, unless --port-offset is given'),
  BZZZ_HOST: z.string().default('127.0.0.1').describe('Address that all listeners bind to'),
  BZZZ_LISTEN: z
    .string()
    .optional()
    .describe('Address that peers connect to, unless --listen is given; by default BZZZ_HOST'),
  BZZZ_STACK_FILE: z
    .string()
    .default(fileURLToPath(new URL('../stack.yml', import.meta.url)))
    .describe('The functions that the gateway runs'),
  BZZZ_LOG_LEVEL: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('Least severe log line that is written'),
  DATABASE_URL: z.string().optional().describe('PostgreSQL to use instead of the embedded one'),
  BZZZ_MIGRATE: flag
    .default(false)
    .describe('Migrate the database of DATABASE_URL at start; the embedded one always is'),
  REDIS_URL: z.string().optional().describe('Redis to use beside it'),
})

export type UpConfig = z.output<typeof upConfigSchema>

/** @throws InvalidConfigError with every problem */
export function readCliConfig(env: Env): CliConfig {
  return parseEnv(cliConfigSchema, env)
}

/** @throws InvalidConfigError with every problem */
export function readUpConfig(env: Env): UpConfig {
  return parseEnv(upConfigSchema, env)
}
