import type { Startable } from '../../../shared/lifecycle.ts'
import type { Cost } from '../cost/prices.ts'
import type { CallScope } from '../limits/limits.ts'
import type { ModelUsage } from '../../../shared/llm/model-usage.ts'

/** `metadata`: the exchange record without the two bodies. */
export type RecordingMode = 'off' | 'metadata' | 'full'

export interface ExchangeCall {
  scope: CallScope
  /** Bearer token of the caller: what is stored is stored under its rights. */
  token: string
  method: string
  /** Of the API: `/v1/chat/completions`. */
  path: string
  requestBody: Buffer
  requestMediaType: string
}

/** How the exchange ended, as seen from the caller. */
export type ExchangeOutcome =
  /** The answer was passed on to its end, whatever its status. */
  | 'complete'
  /** The upstream broke off in the middle. */
  | 'cut'
  /** The caller left. */
  | 'aborted'
  /** No answer began. */
  | 'failed'

export interface ExchangeEnd {
  status: number
  /** Of the answer: `text/event-stream`. */
  mediaType: string
  outcome: ExchangeOutcome
  /** As served, which may differ from what was asked for. */
  model: string
  usage: ModelUsage | null
  cost: Cost | null
  upstream: string
  /** Peer id of the node that served a model shared with the mesh. */
  peer: string | null
  /** The answer came from the exact cache: it cost nothing. */
  cached: boolean
  timings: ExchangeTimings
}

export interface ExchangeTimings {
  /** Until the upstream's first byte; null where none came. */
  firstByteMs: number | null
  totalMs: number
}

/**
 * Records calls and their usage beside the answers. Nothing here waits or throws: what cannot be
 * kept is counted and dropped, the bodies first.
 */
export interface ExchangeRecorder extends Startable {
  begin(call: ExchangeCall): ExchangeRecording
}

export interface ExchangeRecording {
  /** Time-ordered; the idempotency key of the usage row. */
  readonly id: string
  /** Known before the first byte; null where the project records nothing. */
  readonly address: string | null
  /** Bytes of the answer as they are passed on. They are kept, not copied. */
  chunk(bytes: Uint8Array): void
  /** Once; a second call does nothing. Also writes the usage row, in every mode. */
  end(end: ExchangeEnd): void
}
