import { OverloadedError } from '../../shared/errors.ts'

/** Seconds a caller is told to wait when the queue is full. */
const RETRY_AFTER_SECONDS = 1

/** At most `running` tasks at once, at most `waiting` in line; beyond that OverloadedError. */
export class Semaphore {
  readonly #runningMax: number
  readonly #waitingMax: number
  readonly #line = new Set<() => void>()
  #running = 0

  constructor(init: { running: number; waiting: number }) {
    this.#runningMax = init.running
    this.#waitingMax = init.waiting
  }

  async run<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted()
    if (this.#running < this.#runningMax) this.#running += 1
    else await this.#turn(signal)
    try {
      return await task()
    } finally {
      const [next] = this.#line
      // The slot is handed over, so a newcomer cannot slip in between.
      if (next) next()
      else this.#running -= 1
    }
  }

  #turn(signal?: AbortSignal): Promise<void> {
    if (this.#line.size >= this.#waitingMax) {
      throw new OverloadedError('Too many transfers are waiting.', RETRY_AFTER_SECONDS)
    }
    return new Promise((resolve, reject) => {
      const onTurn = (): void => {
        this.#line.delete(onTurn)
        signal?.removeEventListener('abort', onAbort)
        resolve()
      }
      const onAbort = (): void => {
        this.#line.delete(onTurn)
        reject(signal?.reason as Error)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#line.add(onTurn)
    })
  }
}
