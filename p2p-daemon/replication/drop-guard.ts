import { PROMISE_MS, PROMISES_MAX } from './constants.ts'

/**
 * Keeps two nodes from dropping the last copies of a blob on the strength of each other's answer.
 * Who wants to drop asks all proper holders to keep theirs. A node that said yes drops nothing for
 * a while; one that is dropping itself says no. So at the moment of a drop the full number of
 * copies is held elsewhere by nodes that cannot be dropping theirs.
 */
export class DropGuard {
  readonly #promiseMs: number
  /** Until when a copy is promised; all promises last equally long, so the oldest is the first. */
  readonly #promises = new Map<string, number>()
  readonly #dropping = new Set<string>()
  /** Promises of the run before are forgotten, so nothing is dropped until they are over. */
  readonly #quietUntilMs: number

  constructor(init: { promiseMs?: number } = {}) {
    this.#promiseMs = init.promiseMs ?? PROMISE_MS
    this.#quietUntilMs = performance.now() + this.#promiseMs
  }

  /** False: this node is dropping the blob itself, or cannot promise more. */
  promise(hash: string): boolean {
    this.#expire()
    if (this.#dropping.has(hash) || this.#promises.size >= PROMISES_MAX) return false
    this.#promises.delete(hash)
    this.#promises.set(hash, performance.now() + this.#promiseMs)
    return true
  }

  isDropping(hash: string): boolean {
    return this.#dropping.has(hash)
  }

  /** How long the copy must stay at least; 0 when it may go. */
  keptForMs(hash: string): number {
    const untilMs = Math.max(this.#promises.get(hash) ?? 0, this.#quietUntilMs)
    return Math.max(0, untilMs - performance.now())
  }

  /** Runs a drop, during which no promise is given for the blob. */
  async drop<T>(hash: string, task: () => Promise<T>): Promise<T> {
    this.#dropping.add(hash)
    try {
      return await task()
    } finally {
      this.#dropping.delete(hash)
    }
  }

  #expire(): void {
    const nowMs = performance.now()
    for (const [hash, untilMs] of this.#promises) {
      if (untilMs > nowMs) return
      this.#promises.delete(hash)
    }
  }
}
