import { OverloadedError } from '../../shared/errors.ts'

/** Seconds a caller is told to wait when the queue is full. */
const RETRY_AFTER_SECONDS = 1

/** At most `running` tasks at once, at most `waiting` in line; beyond that OverloadedError. */
export class Semaphore {
  readonly #runningMax: number
  readonly #waitingMax: number
  readonly #line: (() => void)[] = []
  #running = 0

  constructor(init: { running: number; waiting: number }) {
    this.#runningMax = init.running
    this.#waitingMax = init.waiting
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#runningMax) {
      if (this.#line.length >= this.#waitingMax) {
        throw new OverloadedError('Too many transfers are waiting.', RETRY_AFTER_SECONDS)
      }
      // The slot is handed over, so a newcomer cannot slip in between.
      await new Promise<void>((resolve) => this.#line.push(resolve))
    } else {
      this.#running += 1
    }
    try {
      return await task()
    } finally {
      const next = this.#line.shift()
      if (next) next()
      else this.#running -= 1
    }
  }
}
