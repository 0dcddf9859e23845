import { dirname, join, resolve } from 'node:path'

import type { Env } from '../shared/config/env.ts'
import { SECRETS_DIRS } from '../shared/function/constants.ts'
import { readStackFile } from '../shared/function/stack-file.ts'
import type { Logger } from '../shared/log/log.ts'
import type { GatewayConfig } from './config.ts'
import { DeploymentStore } from './deployments/deployment-store.ts'
import { deploymentOf } from './deployments/deployment.ts'
import { Deployments, restore } from './deployments/deployments.ts'
import { FunctionLogs } from './logs/function-logs.ts'
import { HTTPProvider } from './providers/http.ts'
import { InProcessProvider } from './providers/in-process.ts'
import { originsOf } from './providers/origins.ts'
import type { FunctionProvider } from './providers/provider.ts'
import { SecretStore } from './secrets/secret-store.ts'

/** What runs the functions, and what of it this gateway can change. */
export interface Platform {
  provider: FunctionProvider
  deployments: Deployments | null
  secrets: SecretStore | null
  logs: FunctionLogs | null
}

/** Functions at addresses where such are given, else in this process. */
export async function composePlatform(
  log: Logger,
  init: { config: GatewayConfig; env: Env },
): Promise<Platform> {
  const { BZZZ_FUNCTION_URL, BZZZ_FUNCTION_URLS } = init.config
  const elsewhere = BZZZ_FUNCTION_URL !== undefined || BZZZ_FUNCTION_URLS.length > 0
  return elsewhere ? composeUpstream(log, init) : composeEmbedded(log, init)
}

async function composeUpstream(
  log: Logger,
  { config, env }: { config: GatewayConfig; env: Env },
): Promise<Platform> {
  const { functions } = await readStackFile(config.BZZZ_STACK_FILE, env)
  const origins = originsOf(
    functions.map(({ name }) => name),
    { pattern: config.BZZZ_FUNCTION_URL, given: config.BZZZ_FUNCTION_URLS },
  )
  const provider = new HTTPProvider(
    { log },
    {
      functions: functions.map(deploymentOf),
      origins,
      drainTimeoutMs: config.BZZZ_STOP_TIMEOUT,
      timeoutMs: config.BZZZ_FUNCTION_TIMEOUT,
    },
  )
  return { provider, deployments: null, secrets: null, logs: null }
}

async function composeEmbedded(
  log: Logger,
  { config, env }: { config: GatewayConfig; env: Env },
): Promise<Platform> {
  const { functions } = await readStackFile(config.BZZZ_STACK_FILE, env)
  const dataDir = resolve(config.BZZZ_GATEWAY_DATA_DIR)
  const store = new DeploymentStore({ path: join(dataDir, 'functions.json') })
  const deployed = await store.read()
  const secrets = new SecretStore({
    folder: join(dataDir, 'secrets'),
    // Where faas-cli keeps secrets of a project, then where platforms mount them.
    others: [join(dirname(resolve(config.BZZZ_STACK_FILE)), '.secrets'), ...SECRETS_DIRS],
  })
  const logs = new FunctionLogs({ log })
  const provider = new InProcessProvider(
    { log, logs },
    {
      functions: restore(functions, deployed, log),
      env,
      secretsDirs: secrets.folders,
      host: config.BZZZ_HOST,
      portOffset: config.BZZZ_PORT_OFFSET,
      drainTimeoutMs: config.BZZZ_STOP_TIMEOUT,
    },
  )
  const deployments = new Deployments({ store, secrets, provider, log }, { functions, deployed })
  return { provider, deployments, secrets, logs }
}
