import { LOG_WAITING_MAX } from '../constants.ts'
import type { LogLine } from './function-logs.ts'

/** One reader of a function's log that waits for what is yet to come. */
export class LogFollower {
  readonly name: string
  readonly #waiting: LogLine[]
  #missed = 0
  #wake: () => void = () => undefined

  constructor(name: string, first: readonly LogLine[]) {
    this.name = name
    this.#waiting = [...first]
  }

  add(line: LogLine): void {
    this.#waiting.push(line)
    if (this.#waiting.length > LOG_WAITING_MAX) {
      this.#waiting.shift()
      this.#missed += 1
    }
    this.#wake()
  }

  /** Until `signal` aborts. A reader that is too slow is told how many it missed. */
  async *read(signal: AbortSignal): AsyncIterable<LogLine> {
    const stop = () => this.#wake()
    signal.addEventListener('abort', stop, { once: true })
    try {
      while (!signal.aborted) {
        const line = this.#waiting.shift()
        if (this.#missed > 0) yield this.#tellMissed()
        if (line) yield line
        else await new Promise<void>((resolve) => (this.#wake = resolve))
      }
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  #tellMissed(): LogLine {
    const text = `${this.#missed} lines are left out: they came faster than they were read.`
    this.#missed = 0
    return { timestamp: new Date(), text }
  }
}
