import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import { parseEnv, type Env } from '../config/env.ts'
import { createLogger } from '../log/log.ts'
import { createRegistry } from '../metrics/metrics.ts'
import { asPortInUse, type Running } from '../process/entry.ts'
import { VERSION } from '../version.ts'
import { serveConfigSchema, type ServeConfig } from './config.ts'
import { SECRETS_DIRS } from './constants.ts'
import type { FunctionPlugin } from './function.ts'
import { createFunctionApp } from './host.ts'

/** Runs one function in a process of its own, as in its container. */
export async function serveFunction(
  plugin: FunctionPlugin,
  { env, signal }: { env: Env; signal: AbortSignal },
): Promise<Running> {
  const config = parseEnv(serveConfigSchema, env)
  const name = config.OPENFAAS_NAME
  const log = createLogger({ name, level: config.BZZZ_LOG_LEVEL })
  const registry = createRegistry({ component: name, version: VERSION })
  registry.setDefaultLabels({ function: name })
  const app = await createFunctionApp(
    plugin,
    { name, env, secretsDirs: SECRETS_DIRS, log, registry, signal, version: VERSION },
    { drainTimeoutMs: config.drain_timeout },
  )
  const stop = async () => {
    log.info('function draining')
    await sleep(config.healthcheck_interval)
    await app.close()
    log.info('function stopped')
  }
  try {
    await app.listen(addressOf(config))
  } catch (error) {
    await app.close()
    throw asPortInUse(error, 'port') ?? error
  }
  const bound = (app.server.address() as AddressInfo).port
  log.info({ port: bound }, 'function serving')
  return { ports: { http: bound }, stop }
}

/**
 * Behind of-watchdog the port is the watchdog's, which hands its own environment on; the function
 * listens where that expects it.
 */
function addressOf(config: ServeConfig): { host: string; port: number } {
  const { mode, upstream_url: upstream, port, BZZZ_HOST: host } = config
  if (mode !== 'http' || upstream === undefined) return { host, port }
  const url = new URL(upstream)
  return { host: url.hostname, port: Number(url.port || 80) }
}
