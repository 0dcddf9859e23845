import type { Startable } from '../../../shared/lifecycle.ts'
import type { ModelUsage } from '../../../shared/llm/model-usage.ts'

/** Whose call it is: what rules are matched against and usage is counted under. */
export interface CallScope {
  tokenId: string
  /** Of the token. */
  subject: string
  /** Labels of an address: see `labelOf`. */
  project: string
  agent: string
  /** As the caller named it, after aliases. */
  model: string
}

/** What a call may use at most, as far as it can be known before it is made. */
export interface CallEstimate {
  inputTokens: number
  outputTokensMax: number
  costNanoUsd: bigint
}

export interface Limits extends Startable {
  /**
   * Takes what the call may use from every rule that concerns it, from all of them or from none.
   * Where no rule concerns it nothing is asked.
   * @throws RateLimitExceededError, BudgetExceededError, LimitsUnavailableError
   */
  reserve(scope: CallScope, estimate: CallEstimate, signal: AbortSignal): Promise<Reservation>
}

/**
 * Held until `settle` or `release`, one of which is called once the call has ended; while the
 * process lives it is renewed, and after its death it expires. Both answer at once and never throw:
 * what the store does not take now is sent again.
 */
export interface Reservation {
  /** The six `x-ratelimit-*`, as far as there are rules for them. */
  readonly headers: Readonly<Record<string, string>>
  /** Puts what was really used in place of the estimate. */
  settle(usage: ModelUsage, costNanoUsd: bigint): void
  /** Gives back tokens, money and the place. The request stays counted: it was made. */
  release(): void
}
