import type { Output } from '../host.ts'
import { formatSeconds } from '../output/format.ts'

/**
 * Says what starts and how long it took: `[2/6] walnut      ready  1.9 s`. A terminal sees the
 * name at once; elsewhere a line is written whole, so that logs cannot come in between.
 */
export class Steps {
  readonly #output: Output
  readonly #names: readonly string[]
  #index = 0

  constructor({ output }: { output: Output }, { names }: { names: readonly string[] }) {
    this.#output = output
    this.#names = names
  }

  /**
   * Waits for the next step of the list. What it rejects with is passed on. Of work that began
   * together with others, the time is its own and not how long it was waited for.
   */
  async run<T>(work: Timed<T>): Promise<T> {
    const name = this.#names[this.#index++] ?? ''
    const width = Math.max(...this.#names.map(({ length }) => length))
    const head = `[${this.#index}/${this.#names.length}] ${name.padEnd(width)}  `
    const { isTTY = false } = this.#output
    if (isTTY) this.#output.write(head)
    const end = (text: string) => this.#output.write(`${isTTY ? '' : head}${text}\n`)
    try {
      const { result, tookMs } = await work
      end(`ready  ${formatSeconds(tookMs)}`)
      return result
    } catch (error) {
      end('failed')
      throw error
    }
  }
}

export type Timed<T> = Promise<{ result: T; tookMs: number }>

/** Measures from now until the work is done. */
export async function timed<T>(work: Promise<T>): Timed<T> {
  const startedMs = performance.now()
  const result = await work
  return { result, tookMs: performance.now() - startedMs }
}
