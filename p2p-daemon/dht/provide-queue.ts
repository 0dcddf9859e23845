import type { ProviderKey } from './keys.ts'
import { PROVIDE_BURST, PROVIDE_QUEUE_MAX, PROVIDES_PER_SECOND } from './constants.ts'

/**
 * Keys in the order in which they are announced: capabilities first and at once, because somebody
 * waits for the agent; roots at a steady pace, because a node can announce only so many.
 */
export class ProvideQueue {
  readonly #capabilities = new Set<ProviderKey>()
  readonly #roots = new Set<ProviderKey>()
  readonly #intervalMs = 1000 / PROVIDES_PER_SECOND
  /** When the pace would be kept to the letter; up to a burst behind it is caught up with. */
  #rootAtMs = 0

  get size(): number {
    return this.#capabilities.size + this.#roots.size
  }

  /** False when it is full: the key stays due in the store. */
  add(key: ProviderKey): boolean {
    const queue = key.startsWith('root/') ? this.#roots : this.#capabilities
    if (queue.size >= PROVIDE_QUEUE_MAX && !queue.has(key)) return false
    queue.add(key)
    return true
  }

  delete(key: ProviderKey): void {
    this.#capabilities.delete(key)
    this.#roots.delete(key)
  }

  /** The next key, or how long to wait for it; Infinity while there is none. */
  next(nowMs: number): { key: ProviderKey } | { waitMs: number } {
    const [capability] = this.#capabilities
    if (capability) {
      this.#capabilities.delete(capability)
      return { key: capability }
    }
    const [root] = this.#roots
    if (!root) return { waitMs: Number.POSITIVE_INFINITY }
    const earliestMs = nowMs - (PROVIDE_BURST - 1) * this.#intervalMs
    const atMs = Math.max(this.#rootAtMs, earliestMs)
    if (atMs > nowMs) return { waitMs: atMs - nowMs }
    this.#rootAtMs = atMs + this.#intervalMs
    this.#roots.delete(root)
    return { key: root }
  }
}
