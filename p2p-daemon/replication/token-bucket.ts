import { setTimeout as sleep } from 'node:timers/promises'

import { BUCKET_SECONDS_MAX } from './constants.ts'

/**
 * Paces bytes to a rate. Something larger than the bucket may pass at once when it is full, and is
 * paid for by whoever comes next: the rate holds on average, not within a single large piece.
 */
export class TokenBucket {
  readonly #bytesPerSecond: number
  #tokens: number
  #filledAtMs = performance.now()
  #turn: Promise<void> = Promise.resolve()

  constructor(init: { bytesPerSecond: number }) {
    this.#bytesPerSecond = init.bytesPerSecond
    this.#tokens = init.bytesPerSecond * BUCKET_SECONDS_MAX
  }

  /** Resolves when `bytes` may pass; callers pass in the order in which they asked. */
  take(bytes: number, signal?: AbortSignal): Promise<void> {
    const taken = this.#turn.then(() => this.#take(bytes, signal))
    this.#turn = taken.catch(() => undefined)
    return taken
  }

  async #take(bytes: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    this.#fill()
    if (this.#tokens < 0) {
      const waitMs = Math.ceil((-this.#tokens / this.#bytesPerSecond) * 1000)
      await sleep(waitMs, undefined, signal ? { signal } : {})
      this.#fill()
    }
    this.#tokens -= bytes
  }

  #fill(): void {
    const nowMs = performance.now()
    const earned = ((nowMs - this.#filledAtMs) / 1000) * this.#bytesPerSecond
    const most = this.#bytesPerSecond * BUCKET_SECONDS_MAX
    this.#tokens = Math.min(this.#tokens + earned, most)
    this.#filledAtMs = nowMs
  }
}
