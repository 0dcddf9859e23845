/** One at a time for each key, in the order of asking. Keys nobody holds take no memory. */
export class HashLocks {
  readonly #tails = new Map<string, Promise<void>>()

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key)
    const turn = Promise.withResolvers<void>()
    this.#tails.set(key, turn.promise)
    if (before !== undefined) await before
    try {
      return await work()
    } finally {
      if (this.#tails.get(key) === turn.promise) this.#tails.delete(key)
      turn.resolve()
    }
  }
}

/** At most `max` at a time, the others wait in order. */
export class Slots {
  readonly #max: number
  readonly #waiting: (() => void)[] = []
  #taken = 0

  constructor(max: number) {
    this.#max = max
  }

  /** Undefined, and nothing done, when it would have to wait. */
  runIfFree<T>(work: () => Promise<T>): Promise<T> | undefined {
    return this.#taken < this.#max ? this.run(work) : undefined
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#taken >= this.#max) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    } else {
      this.#taken += 1
    }
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#taken -= 1
      else next()
    }
  }
}
