import type { FastifyInstance } from 'fastify'

import { createService } from '../http/service.ts'
import { READY_CHECK_TIMEOUT_MS } from './constants.ts'
import type { FunctionComponents, FunctionPlugin, ReadyCheck } from './function.ts'

/** Builds the app of one function, ready to serve but not listening. */
export async function createFunctionApp(
  plugin: FunctionPlugin,
  components: FunctionComponents,
): Promise<FastifyInstance> {
  const checks = new Map<string, ReadyCheck>()
  const app = createService(components, {
    healthPaths: ['/_/health', '/healthz'],
    readyPaths: ['/_/ready', '/readyz'],
    ready: async () => readiness(checks, components.signal),
  })
  app.register(plugin, { ...components, ready: (name, check) => void checks.set(name, check) })
  await app.ready()
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
