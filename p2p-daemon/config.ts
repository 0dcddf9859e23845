import { z } from 'zod'

import { duration, flag, list, parseEnv, port, size, type Env } from '../shared/config/env.ts'
import { MiB, PUT_BYTES_MAX } from '../shared/limits.ts'

/** Longer than a restart or an update of a node takes. */
const AWAY_GRACE_DEFAULT_MS = 600_000

/** Half of a gigabit line. 10 GB are copied in under three minutes. */
const REPAIR_BYTES_PER_SECOND_DEFAULT = 64 * MiB

/** The environment of one node. Names without BZZZ_ are those of the stack it replaces. */
export const daemonConfigSchema = z.object({
  BZZZ_NODE_NAME: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'a name such as walnut')
    .default('walnut')
    .describe('Name of this node, shown to people and told to peers'),
  BZZZ_DATA_DIR: z.string().default('/rust/bzzz-v2').describe('Where everything of the node lies'),
  BZZZ_HOST: z.string().default('127.0.0.1').describe('Address that all listeners bind to'),
  BZZZ_LISTEN: z
    .string()
    .optional()
    .describe('Address that peers connect to (libp2p, bulk transfer); by default BZZZ_HOST'),
  BZZZ_HTTP_PORT: port.default(9000).describe('HTTP API for functions and tools'),
  BZZZ_P2P_PORT: port.default(9101).describe('libp2p over TCP'),
  BZZZ_BULK_PORT: port
    .optional()
    .describe('Bulk blob transfer; by default the first free port of 9200 to 9300'),
  BZZZ_ANNOUNCE: list
    .default([])
    .describe('Multiaddrs told to peers instead of those listened on, comma separated'),
  BZZZ_NETWORK_KEY: z
    .string()
    .optional()
    .describe('Pre-shared key of the network; by default config/network.key, where it exists'),
  BZZZ_MDNS: z
    .enum(['auto', 'on', 'off'])
    .default('auto')
    .describe('Look for members on the local network; auto: unless it listens on loopback only'),
  DHT_BOOTSTRAP_NODES: list
    .default([])
    .describe('Nodes to dial at start: host:port or multiaddrs, comma separated'),
  BZZZ_NAT_AUTONAT: flag
    .default(false)
    .describe('Asks peers whether they can dial this node; needs four of them in four networks'),
  BZZZ_NAT_UPNP: flag
    .default(false)
    .describe('Asks the router to forward the libp2p port to this node'),
  BZZZ_NAT_RELAY: z
    .enum(['off', 'client', 'server', 'both'])
    .default('both')
    .describe('Relayed connections: use those of members (client), carry theirs (server), or both'),
  BZZZ_NAT_HOLE_PUNCH: flag
    .default(true)
    .describe('Tries to replace a relayed connection by a direct one'),
  BZZZ_ROLES: list.default([]).describe('Roles told to peers, comma separated'),
  BZZZ_ZONE: z.string().default('default').describe('Failure domain; replicas spread over zones'),
  BZZZ_WEIGHT: z.coerce
    .number()
    .min(0)
    .max(1000)
    .default(1)
    .describe('Share of the replicas relative to other nodes; 0 keeps none'),
  BZZZ_NODE_AWAY_GRACE: duration
    .default(AWAY_GRACE_DEFAULT_MS)
    .describe('A node away for longer is treated as gone: its copies are made elsewhere'),
  BZZZ_REPAIR_BYTES_PER_SECOND: size
    .default(REPAIR_BYTES_PER_SECOND_DEFAULT)
    .refine((bytes) => bytes > 0, 'at least one byte')
    .describe('What repairs may move a second, so that they do not crowd out reads and writes'),
  BZZZ_TOKEN_KEYS_FILE: z.string().describe('JWK set with the public keys of the cluster’s tokens'),
  BZZZ_PUT_BYTES_MAX: size
    .default(PUT_BYTES_MAX)
    .describe('Largest body of a put, such as 512MiB; more is refused with 413'),
  BZZZ_SCRUB_PERIOD: duration
    .default(2_592_000_000)
    .describe('Every blob is read again and checked once in this time, such as 30d; 0s: never'),
  BZZZ_SCRUB_BYTES_PER_SECOND: size
    .default(32 * MiB)
    .describe('A scrub reads no faster than this, such as 32MiB, also when asked for'),
  BZZZ_SCRUB_IO_SHARE: z.coerce
    .number()
    .min(0.001)
    .max(1)
    .default(0.25)
    .describe('Share of the time that a scrub may keep the disk busy'),
  BZZZ_GC_GRACE: duration
    .default(86_400_000)
    .describe('What nothing refers to is kept this long before it is deleted, such as 24h'),
  BZZZ_GC_PERIOD: duration
    .default(0)
    .describe('A collection starts by itself this often; 0s: only when asked for'),
  BZZZ_QUOTAS: z
    .string()
    .optional()
    .describe('Limits of projects, such as apollo=10GiB,*=100GiB; config/quotas.json goes first'),
  BZZZ_MODELS_URL: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe('Server with OpenAI’s API on this machine, such as http://127.0.0.1:11434/v1'),
  BZZZ_MODELS_SHARED: list
    .default([])
    .describe('Its models that the whole mesh may use, such as llama3.2:3b,qwen2.5:7b'),
  BZZZ_MODELS_KEY: z.string().optional().describe('Its key, where it wants one'),
  BZZZ_STOP_TIMEOUT: duration
    .default(4_000)
    .describe('How long requests in flight may take to end'),
  BZZZ_LOG_LEVEL: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('Least severe log line that is written'),
  DATABASE_URL: z.string().optional().describe('PostgreSQL for search and revocations'),
})

export type DaemonConfig = z.output<typeof daemonConfigSchema>

/** @throws InvalidConfigError with every problem */
export function readDaemonConfig(env: Env): DaemonConfig {
  return parseEnv(daemonConfigSchema, env)
}
