import { hostname } from 'node:os'
import { dirname, join, resolve } from 'node:path'

import { openAccess, type Access } from '../shared/auth/access.ts'
import type { Env } from '../shared/config/env.ts'
import { openDatabase } from '../shared/db/database.ts'
import { SECRETS_DIRS } from '../shared/function/constants.ts'
import { readStackFile } from '../shared/function/stack-file.ts'
import { createLogger, type Logger } from '../shared/log/log.ts'
import { createRegistry, type Registry } from '../shared/metrics/metrics.ts'
import type { Running } from '../shared/process/entry.ts'
import { VERSION } from '../shared/version.ts'
import { readGatewayConfig, type GatewayConfig } from './config.ts'
import { DeploymentStore } from './deployments/deployment-store.ts'
import { Deployments, restore } from './deployments/deployments.ts'
import { Front } from './front.ts'
import { FunctionLogs } from './logs/function-logs.ts'
import { GatewayMetrics } from './metrics.ts'
import { InProcessProvider } from './providers/in-process.ts'
import { Invoker } from './proxy/invoker.ts'
import { SecretStore } from './secrets/secret-store.ts'
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
  const { functions } = await readStackFile(config.BZZZ_STACK_FILE, functionsEnv)
  const dataDir = resolve(config.BZZZ_GATEWAY_DATA_DIR)
  const store = new DeploymentStore({ path: join(dataDir, 'functions.json') })
  const deployed = await store.read()
  const secrets = new SecretStore({
    folder: join(dataDir, 'secrets'),
    // Where faas-cli keeps secrets of a project, then where platforms mount them.
    others: [join(dirname(resolve(config.BZZZ_STACK_FILE)), '.secrets'), ...SECRETS_DIRS],
  })
  const access = await openGatewayAccess(config, { log, registry })
  const logs = new FunctionLogs({ log })
  const provider = new InProcessProvider(
    { log, logs },
    {
      functions: restore(functions, deployed, log),
      env: functionsEnv,
      secretsDirs: secrets.folders,
      host: config.BZZZ_HOST,
      portOffset: config.BZZZ_PORT_OFFSET,
      drainTimeoutMs: config.BZZZ_STOP_TIMEOUT,
    },
  )
  const deployments = new Deployments({ store, secrets, provider, log }, { functions, deployed })
  const metrics = new GatewayMetrics({ registry, provider })
  const invoker = new Invoker({ provider, metrics, log })
  const front = new Front(
    {
      provider,
      invoker,
      createApi: (isReady) =>
        createApi(
          { provider, deployments, secrets, logs, metrics, auth: access.auth, registry, log },
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
  const database = config.DATABASE_URL ? openDatabase(config.DATABASE_URL, { log }) : undefined
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
