import { ANNOUNCE_INTERVAL_MS } from './constants.ts'

/** Decides when everybody is told: soon after a change, once for several, and now and then. */
export class AnnounceTimer {
  readonly #announce: () => void
  #interval: NodeJS.Timeout | undefined
  #timer: NodeJS.Timeout | undefined
  #atMs = 0

  constructor(components: { announce: () => void }) {
    this.#announce = components.announce
  }

  start(): void {
    this.#interval ??= setInterval(() => this.#announce(), ANNOUNCE_INTERVAL_MS)
  }

  stop(): void {
    clearInterval(this.#interval)
    clearTimeout(this.#timer)
    this.#interval = undefined
    this.#timer = undefined
  }

  /** Of several times asked for the earliest counts, and covers the others. */
  soon(delayMs: number): void {
    if (!this.#interval) return
    const atMs = Date.now() + delayMs
    if (this.#timer && this.#atMs <= atMs) return
    clearTimeout(this.#timer)
    this.#atMs = atMs
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#announce()
    }, delayMs)
  }
}
