import { z } from 'zod'

import { flag, list } from '../../shared/config/env.ts'

const LOCAL_HOSTS = ['localhost', '127.0.0.1', '[::1]']

/** Beside those of who may do what (`shared/auth/access.ts`). */
export const mcpConfigSchema = z
  .object({
    BZZZ_ENDPOINT: list
      .default(['http://127.0.0.1:9000'])
      .describe('HTTP addresses of the daemons, the own node’s first, comma separated'),
    DATABASE_URL: z
      .string()
      .optional()
      .describe('PostgreSQL, for jobs where there is no Redis, threads and audit rows'),
    REDIS_URL: z.string().optional().describe('Redis, for jobs and for rates that replicas share'),
    BZZZ_MCP_PUBLIC_URL: z
      .url({ protocol: /^https?$/ })
      .default('http://127.0.0.1:3001/mcp')
      .describe('Where clients reach the endpoint; also the audience that a token may name'),
    BZZZ_MCP_ALLOWED_HOSTS: list
      .default(LOCAL_HOSTS)
      .describe('Host headers that are served beside the host of the public URL, without ports'),
    BZZZ_MCP_ALLOWED_ORIGINS: list
      .default(LOCAL_HOSTS)
      .describe('Hosts of web pages that may call, without scheme and port'),
    BZZZ_MCP_AUTHORIZATION_SERVERS: list
      .default([])
      .describe('OAuth servers that the resource metadata names; tokens are made by hand without'),
    BZZZ_MCP_TOOL_RPM: z.coerce
      .number()
      .int()
      .min(1)
      .default(600)
      .describe('Calls of one tool by one subject in a minute; a tool may have a lower limit'),
    BZZZ_MCP_CONFORMANCE: flag
      .default(false)
      .describe('Adds what the public conformance suite calls; refused in production'),
    NODE_ENV: z.string().optional().describe('`production` refuses what is for tests only'),
  })
  .refine((env) => !(env.BZZZ_MCP_CONFORMANCE && env.NODE_ENV === 'production'), {
    path: ['BZZZ_MCP_CONFORMANCE'],
    message: 'not in production (NODE_ENV)',
  })

export type McpConfig = z.output<typeof mcpConfigSchema>
