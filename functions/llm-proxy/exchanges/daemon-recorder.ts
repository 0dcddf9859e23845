import { startAll, stopAll } from '../../../shared/lifecycle.ts'
import type { Logger } from '../../../shared/log/log.ts'
import { Counter, Gauge, type Registry } from '../../../shared/metrics/metrics.ts'
import { NO_USAGE } from '../../../shared/llm/model-usage.ts'
import type { UsageLog } from '../usage/usage-log.ts'
import { Batches, type Batch } from './batches.ts'
import { ExchangeWriter, type ExchangeWriterComponents, type Kept } from './exchange-writer.ts'
import type { ExchangeCall, ExchangeEnd, ExchangeRecorder, ExchangeRecording } from './recorder.ts'
import { MemoryBudget, Recording } from './recording.ts'
import type { RecordingRules } from './recording-rules.ts'
import { timeOrderedId } from './time-ordered-id.ts'

export interface DaemonRecorderComponents extends Pick<
  ExchangeWriterComponents,
  'daemon' | 'prices' | 'log'
> {
  /** As they stand now. */
  rules: () => RecordingRules
  /** Null where there is no database. */
  usage: Pick<UsageLog, 'record'> | null
  log: Logger
  registry: Registry
}

export interface DaemonRecorderInit {
  /** Memory for bodies. */
  bytesMax: number
  /** Exchanges are stored under it, in place of each caller's token. */
  token?: string | undefined
}

/** Records exchanges as content of the cluster. */
export class DaemonRecorder implements ExchangeRecorder {
  readonly #components: DaemonRecorderComponents
  readonly #batches: Batches
  readonly #budget: MemoryBudget
  readonly #writer: ExchangeWriter
  readonly #kept: Counter<'kept'>
  readonly #withheld: Counter<'reason'>

  constructor(components: DaemonRecorderComponents, init: DaemonRecorderInit) {
    const { registry } = components
    this.#components = components
    this.#batches = new Batches(init)
    this.#budget = new MemoryBudget(init.bytesMax)
    this.#writer = new ExchangeWriter({
      ...components,
      onKept: (kept, recording) => this.#done(kept, recording),
    })
    const registers = [registry]
    this.#kept = new Counter({
      name: 'bzzz_llm_exchanges_total',
      help: 'Exchanges by what was kept of them: full, metadata, refused by the daemon, lost',
      labelNames: ['kept'],
      registers,
    })
    this.#withheld = new Counter({
      name: 'bzzz_llm_exchanges_withheld_total',
      help: 'Exchanges of which only metadata was kept, by the reason',
      labelNames: ['reason'],
      registers,
    })
    const pending: Gauge = new Gauge({
      name: 'bzzz_llm_exchanges_pending',
      help: 'Exchanges that ended and wait to be stored',
      registers,
      collect: () => pending.set(this.#writer.waiting),
    })
    const bytes: Gauge = new Gauge({
      name: 'bzzz_llm_exchanges_bytes',
      help: 'Memory held by bodies of exchanges that go on or wait',
      registers,
      collect: () => bytes.set(this.#budget.bytes),
    })
  }

  begin(call: ExchangeCall): ExchangeRecording {
    const mode = this.#components.rules().modeOf(call.scope.project)
    const batch = mode === 'off' ? null : this.#join(call)
    return new Recording(
      { budget: this.#budget, onEnd: (recording, end) => this.#end(recording, end) },
      { id: timeOrderedId(), call, batch, mode },
    )
  }

  start(): Promise<void> {
    return startAll([this.#writer])
  }

  stop(): Promise<void> {
    return stopAll([this.#writer])
  }

  #join(call: ExchangeCall): Batch | null {
    try {
      return this.#batches.join(call)
    } catch (error) {
      this.#components.log.error({ err: error }, 'an exchange has no address and is not recorded')
      return null
    }
  }

  #end(recording: Recording, end: ExchangeEnd): void {
    const { scope, path } = recording.call
    this.#components.usage?.record({
      id: recording.id,
      at: recording.at.toISOString(),
      tokenId: scope.tokenId,
      subject: scope.subject,
      project: scope.project,
      agent: scope.agent,
      path,
      model: scope.model,
      servedModel: end.model,
      upstream: end.upstream,
      peer: end.peer,
      status: end.status,
      outcome: end.outcome,
      cached: end.cached,
      usage: end.usage ?? NO_USAGE,
      costNanoUsd: String(end.cost?.nanoUsd ?? 0n),
      priced: end.cost?.priced ?? false,
      priceMap: end.cost?.priceMapHash ?? '',
      firstByteMs: end.timings.firstByteMs,
      totalMs: end.timings.totalMs,
      exchange: recording.address,
    })
    if (recording.batch) this.#writer.add(recording, end)
  }

  #done(kept: Kept, recording: Recording): void {
    this.#kept.inc({ kept })
    const { withheld } = recording
    if (withheld !== null) this.#withheld.inc({ reason: withheld })
    recording.release()
  }
}
