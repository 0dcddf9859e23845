import type { FastifyInstance } from 'fastify'

import { AuditLog } from '../audit/audit-log.ts'
import { parseEnv } from '../config/env.ts'
import { openDatabase, type BzzzDatabase } from '../db/database.ts'
import type { FunctionContext } from '../function/function.ts'
import type { Logger } from '../log/log.ts'
import type { Registry } from '../metrics/metrics.ts'
import type { Auditor } from './audited.ts'
import { accessConfigSchema } from './config.ts'
import { createKeyFileVerifier, readTokenKeys } from './key-file.ts'
import { authPlugin, type AuthComponents } from './plugin.ts'
import { DaemonSource, databaseSource } from './revocation-sources.ts'
import { Revocations } from './revocations.ts'

/** Revocations and audit rows of one function: one reads a list while the other writes rows. */
const FUNCTION_CONNECTIONS_MAX = 2

export interface AccessComponents {
  log: Logger
  registry: Registry
  /** Without it there are no audit rows, and revocations come from daemons alone. */
  db?: BzzzDatabase | undefined
}

export interface AccessInit {
  /** Who writes the audit rows: the name of the function, gateway, the name of the node. */
  component: string
  keysFile: string
  /** Daemons to ask for revocations. */
  endpoints?: readonly string[] | undefined
  spoolDir?: string | undefined
}

export interface Access {
  /** What the plugin is registered with. */
  auth: AuthComponents
  /** Writes down what is still to be written. The database is closed after it. */
  close(): Promise<void>
}

/** Everything that decides who may do what in one process or function, and writes it down. */
export async function openAccess(components: AccessComponents, init: AccessInit): Promise<Access> {
  const { log, registry, db } = components
  const { component, keysFile, endpoints = [], spoolDir } = init
  const verify = await createKeyFileVerifier(keysFile)
  const readKeys = () => readTokenKeys(keysFile)
  const sources = [
    ...(db ? [databaseSource(db)] : []),
    ...(endpoints.length > 0 ? [new DaemonSource({ readKeys }, { endpoints })] : []),
  ]
  const revocations = new Revocations({ sources, log })
  const audit = db && new AuditLog({ db, log, registry }, { component, spoolDir })
  if (!audit) log.warn('no audit rows are written: there is no database')
  await audit?.start()
  return {
    auth: {
      verify,
      registry,
      ...(sources.length > 0 && { isRevoked: (tokenId) => revocations.isRevoked(tokenId) }),
      ...(audit && { audit }),
    },
    close: async () => audit?.stop(),
  }
}

/**
 * What a handler calls first: every route registered after it needs a token or is `public`.
 * @returns where a function that serves many things by one route writes its own audit rows
 */
export async function registerAccess(
  app: FastifyInstance,
  context: FunctionContext,
): Promise<{ audit: Auditor | undefined }> {
  const config = parseEnv(accessConfigSchema, context.env)
  const { log, registry, name: component } = context
  const database = config.DATABASE_URL
    ? openDatabase(config.DATABASE_URL, { log }, { connectionsMax: FUNCTION_CONNECTIONS_MAX })
    : undefined
  // Closed also when the plugin fails to start after this.
  app.addHook('onClose', async () => database?.close())
  const access = await openAccess(
    { log, registry, db: database?.db },
    {
      component,
      keysFile: config.BZZZ_TOKEN_KEYS_FILE,
      endpoints: config.BZZZ_ENDPOINT,
      spoolDir: config.BZZZ_AUDIT_SPOOL_DIR,
    },
  )
  // Runs before the one above: hooks of this kind run in reverse.
  app.addHook('onClose', () => access.close())
  await app.register(authPlugin, access.auth)
  return { audit: access.auth.audit }
}
