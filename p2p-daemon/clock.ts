import { setTimeout as sleep } from 'node:timers/promises'

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
