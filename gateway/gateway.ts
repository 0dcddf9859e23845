import { hostname } from 'node:os'

import { openAccess, type Access } from '../shared/auth/access.ts'
import type { Env } from '../shared/config/env.ts'
import { openDatabase } from '../shared/db/database.ts'
import { createLogger, type Logger } from '../shared/log/log.ts'
import { createRegistry, type Registry } from '../shared/metrics/metrics.ts'
import type { Running } from '../shared/process/entry.ts'
import { VERSION } from '../shared/version.ts'
import { readGatewayConfig, type GatewayConfig } from './config.ts'
import { DATABASE_CONNECTIONS_MAX } from './constants.ts'
import { Front } from './front.ts'
import { openJobs } from './jobs/gateway-jobs.ts'
import { GatewayMetrics } from './metrics.ts'
import { composePlatform } from './platform.ts'
import { Invoker } from './proxy/invoker.ts'
import { createApi } from './system/api.ts'
import { createMetricsApp } from './system/metrics-app.ts'

export interface GatewayContext {
  env: Env
  signal: AbortSignal
  /** Of this machine, as Node names it. */
  arch: string
}

/** Builds the gateway and starts it. What was opened before a failure is closed. */
export async function startGateway({ env, signal, arch }: GatewayContext): Promise<Running> {
  const config = readGatewayConfig(env)
  const log = createLogger({ name: 'gateway', level: config.BZZZ_LOG_LEVEL })
  const registry = createRegistry({ component: 'gateway', version: VERSION })
  // Defaults of the gateway hold for its functions as well, and in the stack file.
  const functionsEnv = {
    ...env,
    BZZZ_ENDPOINT: config.BZZZ_ENDPOINT,
    BZZZ_LOG_LEVEL: config.BZZZ_LOG_LEVEL,
  }
  const platform = await composePlatform(log, { config, env: functionsEnv })
  const { provider } = platform
  const access = await openGatewayAccess(config, { log, registry })
  const jobs = openJobs(config, { log })
  const metrics = new GatewayMetrics({ registry, provider })
  const invoker = new Invoker({ provider, metrics, log })
  const front = new Front(
    {
      provider,
      invoker,
      createApi: (isReady) =>
        createApi(
          { ...platform, jobs, metrics, auth: access.auth, registry, log },
          { isReady, arch, instance: hostname() },
        ),
      createMetricsApp: () => createMetricsApp({ metrics, registry, log }),
      log,
    },
    {
      host: config.BZZZ_HOST,
      port: config.BZZZ_GATEWAY_PORT,
      metricsPort: config.BZZZ_GATEWAY_METRICS_PORT,
    },
  )
  const stop = async () => {
    await front.stop()
    await jobs.close()
    await access.close()
  }
  try {
    await front.start({ signal })
  } catch (error) {
    await stop()
    throw error
  }
  return { ports: { ...provider.ports(), ...front.ports() }, stop }
}

async function openGatewayAccess(
  config: GatewayConfig,
  { log, registry }: { log: Logger; registry: Registry },
): Promise<Access> {
  const database = config.DATABASE_URL
    ? openDatabase(config.DATABASE_URL, { log }, { connectionsMax: DATABASE_CONNECTIONS_MAX })
    : undefined
  const access = await openAccess(
    { log, registry, db: database?.db },
    {
      component: 'gateway',
      keysFile: config.BZZZ_TOKEN_KEYS_FILE,
      endpoints: config.BZZZ_ENDPOINT.split(','),
      spoolDir: config.BZZZ_AUDIT_SPOOL_DIR,
    },
  )
  const close = async () => {
    await access.close()
    await database?.close()
  }
  return { ...access, close }
}
