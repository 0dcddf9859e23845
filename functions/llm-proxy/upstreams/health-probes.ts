import { setTimeout as sleep } from 'node:timers/promises'

import type { Startable } from '../../../shared/lifecycle.ts'
import type { Logger } from '../../../shared/log/log.ts'
import { Gauge, type Registry } from '../../../shared/metrics/metrics.ts'
import { HEALTH_INTERVAL_MS_MIN } from '../constants.ts'
import { Attempt } from '../forward/attempt.ts'
import type { Upstream } from './upstream.ts'

export interface HealthProbesComponents {
  /** As they stand now: those of a new configuration are asked from then on. */
  upstreams: () => readonly Upstream[]
  log: Logger
  registry: Registry
}

/**
 * Asks those upstreams how they are whose configuration says so, so that one that went away is
 * asked last before a call has failed there, and first again when it is back. Each has one probe
 * under way at most.
 */
export class HealthProbes implements Startable {
  readonly #components: HealthProbesComponents
  readonly #dueMs = new WeakMap<Upstream, number>()
  #stopping: AbortController | null = null
  #loop: Promise<void> = Promise.resolve()

  constructor(components: HealthProbesComponents) {
    this.#components = components
    const healthy: Gauge<'upstream'> = new Gauge({
      name: 'bzzz_llm_upstream_healthy',
      help: '0 while an upstream fails its probes; only those that have some',
      labelNames: ['upstream'],
      registers: [components.registry],
      collect: () => {
        healthy.reset()
        for (const { name, health, isHealthy } of components.upstreams()) {
          if (health) healthy.set({ upstream: name }, isHealthy ? 1 : 0)
        }
      },
    })
  }

  start(): Promise<void> {
    if (this.#stopping) return Promise.resolve()
    this.#stopping = new AbortController()
    this.#loop = this.#run(this.#stopping.signal)
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#stopping?.abort()
    await this.#loop
    this.#stopping = null
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const nowMs = performance.now()
      for (const upstream of this.#components.upstreams()) {
        const { health } = upstream
        if (!health || (this.#dueMs.get(upstream) ?? 0) > nowMs) continue
        // Not again before this one has ended.
        this.#dueMs.set(upstream, Number.POSITIVE_INFINITY)
        void this.#probe(upstream, health.timeout, signal).then(() =>
          this.#dueMs.set(upstream, nowMs + health.interval),
        )
      }
      await sleep(HEALTH_INTERVAL_MS_MIN / 4, undefined, { signal, ref: false }).catch(() => null)
    }
  }

  async #probe(upstream: Upstream, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const result = await ask(upstream, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]))
    if (signal.aborted) return
    const passed = typeof result === 'number' && result >= 200 && result < 300
    if (!upstream.probed(passed)) return
    const { name } = upstream
    if (passed) this.#components.log.info({ upstream: name }, 'upstream passes its probes again')
    else if (typeof result === 'number') {
      this.#components.log.warn({ upstream: name, status: result }, 'upstream fails its probes')
    } else this.#components.log.warn({ upstream: name, err: result }, 'upstream fails its probes')
  }
}

/** The status that it answers, or why there is none; the body is not read. */
async function ask(upstream: Upstream, signal: AbortSignal): Promise<number | Error> {
  const attempt = new Attempt({
    accepts: () => false,
    begin: () => undefined,
    data: () => true,
    end: () => undefined,
  })
  const onAbort = (): void => attempt.abort(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    upstream.probe(attempt)
    const result = await attempt.result
    if (result.kind === 'refused') return result.status
    throw 'error' in result ? result.error : new Error('The probe was not answered.')
  } catch (error) {
    return error as Error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
