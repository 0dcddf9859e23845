export interface KeyPaceInit {
  /** Between two runs for one key. */
  restMs: number
  /** Keys that rest at once; beyond it a key runs whenever it is called. */
  keysMax: number
  run: (key: string) => void
}

/**
 * Runs something for a key when it is called, and again only after a rest: the calls that come
 * meanwhile are one, and the last of them is never forgotten.
 */
export class KeyPace {
  readonly #init: KeyPaceInit
  readonly #resting = new Map<string, { timer: NodeJS.Timeout; isCalled: boolean }>()

  constructor(init: KeyPaceInit) {
    this.#init = init
  }

  call(key: string): void {
    const rest = this.#resting.get(key)
    if (rest) rest.isCalled = true
    else this.#run(key)
  }

  /** Who was called and still rests runs now. */
  flush(): void {
    const resting = [...this.#resting]
    this.#resting.clear()
    for (const [key, { timer, isCalled }] of resting) {
      clearTimeout(timer)
      if (isCalled) this.#init.run(key)
    }
  }

  #run(key: string): void {
    const { restMs, keysMax, run } = this.#init
    if (this.#resting.size < keysMax) {
      const timer = setTimeout(() => this.#wake(key), restMs)
      this.#resting.set(key, { timer, isCalled: false })
    }
    run(key)
  }

  #wake(key: string): void {
    const isCalled = this.#resting.get(key)?.isCalled
    this.#resting.delete(key)
    if (isCalled) this.#run(key)
  }
}
