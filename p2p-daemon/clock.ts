import { setTimeout as sleep } from 'node:timers/promises'

import type { Logger } from '../shared/log/log.ts'
import { Gauge, type Registry } from '../shared/metrics/metrics.ts'

/** Time as the long-running work of a node sees it; tests put their own here. */
export interface Clock {
  /** Unix milliseconds. */
  now(): number
  /** Rejects when the signal aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const SYSTEM_CLOCK: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) => sleep(ms, undefined, signal ? { signal } : {}),
}

/** A clock that differs by more was set, or is wrong; what NTP corrects at a time is far less. */
export const CLOCK_STEP_MS_MAX = 60_000

export interface SteadyClockComponents {
  log: Logger
  registry: Registry
  /** Whether most of the cluster shows the time that this node's wall clock shows. */
  isConfirmed: () => boolean
  wall?: () => number
  monotonic?: () => number
}

/**
 * The wall clock as long as it goes on by itself. When somebody sets it while the node runs, time
 * goes on from where it was, so that no lease ends and no grace is over early, until most of the
 * cluster is seen to agree with the new time. A cluster of one stays with its old time until it is
 * started again.
 */
export class SteadyClock implements Clock {
  readonly #components: SteadyClockComponents
  readonly #wall: () => number
  readonly #monotonic: () => number
  /** From monotonic time to the time of day. */
  #offsetMs: number
  #isHeld = false

  constructor(components: SteadyClockComponents) {
    this.#components = components
    this.#wall = components.wall ?? (() => Date.now())
    this.#monotonic = components.monotonic ?? (() => performance.now())
    this.#offsetMs = this.#wall() - this.#monotonic()
    const read = (): number => this.#wall() - this.now()
    new Gauge({
      name: 'bzzz_clock_step_seconds',
      help: 'How far the wall clock was set away from the time that leases go by',
      registers: [components.registry],
      collect() {
        this.set(read() / 1000)
      },
    })
  }

  /** Whole milliseconds, as they are kept. */
  now(): number {
    const steadyMs = this.#monotonic() + this.#offsetMs
    const stepMs = this.#wall() - steadyMs
    const isStep = Math.abs(stepMs) > CLOCK_STEP_MS_MAX && !this.#components.isConfirmed()
    if (isStep !== this.#isHeld) this.#report(isStep, stepMs)
    if (isStep) return Math.round(steadyMs)
    this.#offsetMs += stepMs
    return Math.round(steadyMs + stepMs)
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return SYSTEM_CLOCK.sleep(ms, signal)
  }

  #report(isHeld: boolean, stepMs: number): void {
    this.#isHeld = isHeld
    const fields = { stepSeconds: Math.round(stepMs / 1000) }
    const { log } = this.#components
    if (isHeld) log.error(fields, 'the wall clock was set, leases go on by the time before')
    else log.info(fields, 'the wall clock is followed again')
  }
}
