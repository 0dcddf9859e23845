import { OverloadedError } from '../../../shared/errors.ts'

/** Bodies leave within seconds; whoever comes back then finds room. */
const RETRY_SECONDS = 1

/** Memory that the bodies of all requests share: each is bounded, and so are all together. */
export class BodyBudget {
  readonly #bytesMax: number
  #taken = 0

  constructor(init: { bytesMax: number }) {
    this.#bytesMax = init.bytesMax
  }

  get taken(): number {
    return this.#taken
  }

  /** @throws OverloadedError when there is no room */
  take(bytes: number): void {
    if (this.#taken + bytes > this.#bytesMax) {
      throw new OverloadedError('The bodies of other requests take all memory.', RETRY_SECONDS)
    }
    this.#taken += bytes
  }

  give(bytes: number): void {
    this.#taken -= bytes
  }
}
