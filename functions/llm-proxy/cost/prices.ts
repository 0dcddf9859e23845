import type { Startable } from '../../../shared/lifecycle.ts'
import type { ModelUsage } from '../usage/model-usage.ts'

/** What a call cost, and by which price map. */
export interface Cost {
  /** Billionths of a dollar: whole numbers add up, fractions do not. */
  nanoUsd: bigint
  /** False where the map has no price for the model; then the cost is 0. */
  priced: boolean
  /** BLAKE3 of the file. */
  priceMapHash: string
}

/** The price map of the process, read again when its file changes. */
export interface Prices extends Startable {
  /** BLAKE3 of the file in use. */
  readonly hash: string
  /**
   * Costs nothing but arithmetic. The model is looked up as it stands and behind `<provider>/`.
   * Asked with the most that a call may use, it tells the most that it may cost.
   */
  cost(model: string, usage: ModelUsage, provider?: string): Cost
}
