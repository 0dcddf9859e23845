import { z } from 'zod'

import { duration, list, logLevel, parseEnv, port, type Env } from '../shared/config/env.ts'
import { InvalidConfigError } from '../shared/errors.ts'

/** The environment of the connector. */
export const connectorConfigSchema = z.object({
  BZZZ_GATEWAY_URL: z
    .url()
    .default('http://127.0.0.1:8080')
    .describe('The gateway: bzzz’s own, or that of OpenFaaS'),
  BZZZ_TOKEN: z.string().describe('An administrator’s token, to list the functions with'),
  BZZZ_HOST: z.string().default('127.0.0.1').describe('Address that the listener binds to'),
  BZZZ_CONNECTOR_PORT: port.default(8083).describe('Port of health and metrics'),
  BZZZ_ENDPOINT: list
    .default([])
    .describe('HTTP addresses of the daemons, for results that are too large for the queue'),
  BZZZ_TOPICS: list
    .default(['*'])
    .describe('Topics this connector works on, comma separated; * for all'),
  BZZZ_JOB_CONCURRENCY: z.coerce
    .number()
    .int()
    .min(1)
    .max(256)
    .default(16)
    .describe('Jobs of one topic at once, unless its functions say otherwise'),
  BZZZ_JOB_TIMEOUT: duration.default(900_000).describe('Longest time of one attempt'),
  BZZZ_JOB_LOCK: duration
    .default(30_000)
    .describe('A job whose connector died is taken up by another after about twice this'),
  BZZZ_POLL_INTERVAL: duration
    .default(10_000)
    .describe('How often the gateway is asked which functions there are'),
  BZZZ_CALLBACK_HOSTS: list
    .default(['127.0.0.1', 'localhost'])
    .describe('Hosts that answers may be sent to, as at the gateway'),
  BZZZ_CALLBACK_SECRET: z
    .string()
    .min(16)
    .optional()
    .describe('Signs what is sent to X-Callback-Url; without it nothing is signed'),
  BZZZ_STOP_TIMEOUT: duration
    .default(4_000)
    .describe('How long jobs in hand may take to end after SIGTERM; then they are given back'),
  BZZZ_LOG_LEVEL: logLevel.describe('Least severe log line that is written'),
  DATABASE_URL: z.string().optional().describe('PostgreSQL, for jobs where there is no Redis'),
  REDIS_URL: z.string().optional().describe('Redis, for jobs'),
})

export type ConnectorConfig = z.output<typeof connectorConfigSchema>

/** @throws InvalidConfigError with every problem */
export function readConnectorConfig(env: Env): ConnectorConfig {
  const config = parseEnv(connectorConfigSchema, env)
  if (config.DATABASE_URL || config.REDIS_URL) return config
  throw new InvalidConfigError('The connector needs a queue: set REDIS_URL or DATABASE_URL.')
}
