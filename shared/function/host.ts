import type { FastifyInstance } from 'fastify'

import { parseEnv } from '../config/env.ts'
import { createService } from '../http/service.ts'
import { Admission } from './admission.ts'
import { hostConfigSchema } from './config.ts'
import { DRAIN_TIMEOUT_MS, READY_CHECK_TIMEOUT_MS } from './constants.ts'
import type { FunctionComponents, FunctionPlugin, ReadyCheck } from './function.ts'

export interface HostInit {
  /** How long closing the app waits for requests in flight before it fails them. */
  drainTimeoutMs?: number
}

/**
 * Builds the app of one function, ready to serve but not listening. Whoever stops it aborts
 * `components.signal`, which takes readiness away while requests are still served, and closes the
 * app when balancers have had time to notice; closing waits for what is in flight.
 */
export async function createFunctionApp(
  plugin: FunctionPlugin,
  components: FunctionComponents,
  init: HostInit = {},
): Promise<FastifyInstance> {
  const config = parseEnv(hostConfigSchema, components.env)
  const admission = new Admission(components, {
    maxInFlight: config.max_inflight,
    execTimeoutMs: config.exec_timeout,
  })
  const checks = new Map<string, ReadyCheck>()
  const app = createService(components, {
    healthPaths: ['/_/health', '/healthz'],
    readyPaths: ['/_/ready', '/readyz'],
    ready: () => readiness(checks, components.signal),
  })
  app.addHook('preClose', () => admission.drain(init.drainTimeoutMs ?? DRAIN_TIMEOUT_MS))
  app.register(async (scope) => {
    admission.guard(scope)
    const ready = (name: string, check: ReadyCheck) => void checks.set(name, check)
    await scope.register(plugin, { ...components, ready })
  })
  try {
    await app.ready()
  } catch (error) {
    // What the plugin opened before it failed is closed by its own hooks.
    await app.close()
    throw error
  }
  return app
}

async function readiness(checks: ReadonlyMap<string, ReadyCheck>, stopping: AbortSignal) {
  const results = await Promise.all(
    [...checks].map(async ([name, check]) => [name, await passes(check)] as const),
  )
  const ready = !stopping.aborted && results.every(([, passed]) => passed)
  return { ready, detail: { draining: stopping.aborted, checks: Object.fromEntries(results) } }
}

async function passes(check: ReadyCheck): Promise<boolean> {
  const signal = AbortSignal.timeout(READY_CHECK_TIMEOUT_MS)
  const late = new Promise<boolean>((resolve) => {
    signal.addEventListener('abort', () => resolve(false), { once: true })
  })
  try {
    return await Promise.race([check(signal), late])
  } catch {
    return false
  }
}
