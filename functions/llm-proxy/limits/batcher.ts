import { setTimeout as sleep } from 'node:timers/promises'

import { OverloadedError } from '../../../shared/errors.ts'

interface Waiting<Item, Result> {
  item: Item
  resolve: (result: Result) => void
  reject: (error: Error) => void
}

export interface BatcherInit<Item, Result> {
  /** One result for each item, in order. */
  run: (items: readonly Item[]) => Promise<readonly Result[]>
  batchMax: number
  pendingMax: number
  restMsMax: number
}

/**
 * Asks one question at a time; what comes meanwhile goes together with the next. Alone, an item
 * waits for nobody; after a question for several there is a rest, so that under load its cost is
 * shared by many.
 */
export class Batcher<Item, Result> {
  readonly #init: BatcherInit<Item, Result>
  readonly #waiting: Waiting<Item, Result>[] = []
  #running = false

  constructor(init: BatcherInit<Item, Result>) {
    this.#init = init
  }

  /** @throws OverloadedError when too many wait, else what `run` throws */
  ask(item: Item): Promise<Result> {
    if (this.#waiting.length >= this.#init.pendingMax) {
      return Promise.reject(new OverloadedError('Too many calls wait for their limits.', 1))
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (!this.#running) void this.#drain()
    })
  }

  async #drain(): Promise<void> {
    this.#running = true
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#init.batchMax)
      const startedMs = performance.now()
      try {
        const results = await this.#init.run(batch.map(({ item }) => item))
        for (const [index, { resolve }] of batch.entries()) resolve(results[index]!)
      } catch (error) {
        for (const { reject } of batch) reject(error as Error)
      }
      const restMs = Math.min(2 * (performance.now() - startedMs), this.#init.restMsMax)
      if (batch.length > 1 && this.#waiting.length < this.#init.batchMax) await sleep(restMs)
    }
    this.#running = false
  }
}
