import { setTimeout as sleep } from 'node:timers/promises'

import type { Startable } from '../../../shared/lifecycle.ts'
import type { Logger } from '../../../shared/log/log.ts'
import { Counter, Gauge, type Registry } from '../../../shared/metrics/metrics.ts'
import { pause } from '../../../shared/pause.ts'
import {
  SETTLE_GATHER_MS,
  SETTLE_RETRY_MS,
  SETTLEMENTS_MAX,
  STOP_TIMEOUT_MS,
  STORE_BATCH_MAX,
} from './constants.ts'
import type { LimitStore, Settlement } from './limit-store.ts'

export interface SettlementsComponents {
  store: Pick<LimitStore, 'settle'>
  log: Logger
  registry: Registry
}

/**
 * Ends of calls on their way to the store: with the next claims where such come soon, else by
 * themselves. While it is away they wait, in memory: what a replica takes with it when it is killed
 * expires in the store and is not charged against a budget.
 */
export class Settlements implements Startable {
  readonly #components: SettlementsComponents
  readonly #max: number
  readonly #waiting: Settlement[] = []
  readonly #dropped: Counter
  #stopping: AbortController | null = null
  #loop: Promise<void> = Promise.resolve()
  #wake: () => void = () => undefined

  constructor(components: SettlementsComponents, init: { max?: number } = {}) {
    this.#components = components
    this.#max = init.max ?? SETTLEMENTS_MAX
    const registers = [components.registry]
    const waiting: Gauge = new Gauge({
      name: 'bzzz_llm_limit_settlements_pending',
      help: 'Ends of calls that wait for the store of limits',
      registers,
      collect: () => waiting.set(this.#waiting.length),
    })
    this.#dropped = new Counter({
      name: 'bzzz_llm_limit_settlements_dropped_total',
      help: 'Ends of calls that were never counted: the store of limits was away for too long',
      registers,
    })
  }

  add(settlement: Settlement): void {
    this.#waiting.push(settlement)
    this.#bound()
    this.#wake()
  }

  /**
   * Asks the store with some of those that wait. They are settled with the answer; without one they
   * wait again, and if they were settled all the same, the second time changes nothing.
   */
  async along<Answer>(ask: (ended: readonly Settlement[]) => Promise<Answer>): Promise<Answer> {
    const batch = this.#waiting.splice(0, STORE_BATCH_MAX)
    try {
      return await ask(batch)
    } catch (error) {
      this.#waiting.unshift(...batch)
      this.#bound()
      this.#wake()
      throw error
    }
  }

  start(): Promise<void> {
    if (this.#stopping) return Promise.resolve()
    this.#stopping = new AbortController()
    this.#loop = this.#run(this.#stopping.signal)
    return Promise.resolve()
  }

  /** What the store does not take now is lost, and logged. */
  async stop(): Promise<void> {
    if (!this.#stopping) return
    this.#stopping.abort()
    this.#stopping = null
    this.#wake()
    await this.#loop
    const late = sleep(STOP_TIMEOUT_MS, 'late' as const, { ref: false })
    while (this.#waiting.length > 0) {
      const attempt = this.#send().then(
        () => 'sent' as const,
        () => 'failed' as const,
      )
      if ((await Promise.race([attempt, late])) !== 'sent') break
    }
    const rows = this.#waiting.length
    if (rows > 0) this.#components.log.error({ rows }, 'ends of calls were not counted')
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#waiting.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve))
      // What comes along with claims costs the store little more than the claims alone.
      if (this.#waiting.length < STORE_BATCH_MAX) await pause(SETTLE_GATHER_MS, signal)
      if (signal.aborted) return
      try {
        if (this.#waiting.length > 0) await this.#send()
      } catch (error) {
        this.#components.log.warn({ err: error, rows: this.#waiting.length }, 'ends of calls wait')
        await pause(SETTLE_RETRY_MS, signal)
      }
    }
  }

  #bound(): void {
    const tooMany = this.#waiting.length - this.#max
    if (tooMany <= 0) return
    this.#waiting.splice(0, tooMany)
    this.#dropped.inc(tooMany)
  }

  async #send(): Promise<void> {
    await this.along((ended) => this.#components.store.settle(ended))
  }
}
