import type { Clock } from '../../p2p-daemon/clock.ts'

/** Time passes only while somebody sleeps, and then at once. */
export class FastClock implements Clock {
  nowMs: number
  /** Sleeping past this waits for the abort instead; for tests that stop in the middle. */
  endMs: number

  constructor(nowMs = 1_800_000_000_000) {
    this.nowMs = nowMs
    this.endMs = nowMs + 3_600_000
  }

  now(): number {
    return this.nowMs
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    signal?.throwIfAborted()
    if (this.nowMs + ms > this.endMs) {
      await new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
      })
    }
    this.nowMs += ms
  }
}
