import { EARLY_REPORTS_MAX } from './constants.ts'

/**
 * Carries news of bad copies from the store to the repair queue. The store is open first and may
 * find some while it starts; they wait here for somebody who listens.
 */
export class CorruptReports {
  #early: string[] = []
  #listener: ((hash: string) => void) | undefined

  report(hash: string): void {
    if (this.#listener) this.#listener(hash)
    else if (this.#early.length < EARLY_REPORTS_MAX) this.#early.push(hash)
  }

  listen(listener: (hash: string) => void): void {
    this.#listener = listener
    const early = this.#early
    this.#early = []
    for (const hash of early) listener(hash)
  }
}
