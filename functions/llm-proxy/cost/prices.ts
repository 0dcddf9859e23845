import { WatchedFile } from '../../../shared/file/watched-file.ts'
import type { Startable } from '../../../shared/lifecycle.ts'
import { DEFAULT_PRICES } from '../../../shared/llm/default-prices.ts'
import type { ModelUsage } from '../../../shared/llm/model-usage.ts'
import { PriceMap, type Cost } from '../../../shared/llm/price-map.ts'
import type { Logger } from '../../../shared/log/log.ts'

export type { Cost }

/** The price map of the process, read again when its file changes. */
export interface Prices extends Startable {
  /** BLAKE3 of the file in use; empty where cost is not tracked. */
  readonly hash: string
  /** The file in use. */
  readonly text: string
  /**
   * Costs nothing but arithmetic. The model is looked up as it stands and behind `<provider>/`.
   * Asked with the most that a call may use, it tells the most that it may cost.
   */
  cost(model: string, usage: ModelUsage, provider?: string): Cost
}

/** From a file of LiteLLM's format, else from the prices that come with bzzz. */
export class FilePrices implements Prices {
  readonly #file: WatchedFile<{ map: PriceMap; text: string }> | undefined
  readonly #default = { map: new PriceMap(DEFAULT_PRICES), text: DEFAULT_PRICES }

  constructor(components: { log: Logger }, init: { path?: string | undefined; pollMs?: number }) {
    const { path, pollMs } = init
    if (path === undefined) return
    this.#file = new WatchedFile(components, {
      path,
      what: 'prices',
      parse: (text) => ({ map: new PriceMap(text), text }),
      ...(pollMs !== undefined && { pollMs }),
    })
  }

  get hash(): string {
    return this.#current.map.hash
  }

  get text(): string {
    return this.#current.text
  }

  get #current(): { map: PriceMap; text: string } {
    return this.#file?.value ?? this.#default
  }

  cost(model: string, usage: ModelUsage, provider?: string): Cost {
    return this.#current.map.cost(model, usage, provider)
  }

  async start(): Promise<void> {
    await this.#file?.start()
  }

  async stop(): Promise<void> {
    await this.#file?.stop()
  }
}

/** `COST_TRACKING_ENABLED=false`: tokens are counted and cost nothing. */
export const NO_PRICES: Prices = {
  hash: '',
  text: '',
  cost: () => ({ nanoUsd: 0n, priced: false, priceMapHash: '' }),
  start: () => Promise.resolve(),
  stop: () => Promise.resolve(),
}
