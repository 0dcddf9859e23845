import { LRUCache } from 'lru-cache'

/** More senders than a mesh has; of further ones the least recent begins anew. */
const SENDERS_MAX = 1024

/** How often a sender may do something: so many at once, and so many a second in the long run. */
export class RateBound {
  readonly #senders = new LRUCache<string, { left: number; atMs: number }>({ max: SENDERS_MAX })
  readonly #burst: number
  readonly #perSecond: number
  readonly #now: () => number

  constructor(init: { burst: number; perSecond: number }, now: () => number) {
    this.#burst = init.burst
    this.#perSecond = init.perSecond
    this.#now = now
  }

  take(sender: string): boolean {
    const nowMs = this.#now()
    const { left, atMs } = this.#senders.get(sender) ?? { left: this.#burst, atMs: nowMs }
    const earned = ((nowMs - atMs) / 1000) * this.#perSecond
    const filled = Math.min(this.#burst, left + earned)
    this.#senders.set(sender, { left: filled >= 1 ? filled - 1 : filled, atMs: nowMs })
    return filled >= 1
  }
}
