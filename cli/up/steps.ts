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

  /** Waits for the next step of the list. What it rejects with is passed on. */
  async run<T>(work: Promise<T>): Promise<T> {
    const name = this.#names[this.#index++] ?? ''
    const width = Math.max(...this.#names.map(({ length }) => length))
    const head = `[${this.#index}/${this.#names.length}] ${name.padEnd(width)}  `
    const { isTTY = false } = this.#output
    if (isTTY) this.#output.write(head)
    const startedMs = performance.now()
    const end = (text: string) => this.#output.write(`${isTTY ? '' : head}${text}\n`)
    try {
      const result = await work
      end(`ready  ${formatSeconds(performance.now() - startedMs)}`)
      return result
    } catch (error) {
      end('failed')
      throw error
    }
  }
}
