import { Readable } from 'node:stream'

import { OverloadedError } from '../../shared/errors.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import { Counter, Gauge, type Registry } from '../../shared/metrics/metrics.ts'
import {
  EVENTS_PER_WRITE_MAX,
  HEARTBEAT_MS,
  RETRY_MS,
  STALL_CHECK_MS,
  STALL_MS,
  STREAMS_MAX,
  STREAMS_PER_TOKEN_MAX,
  STREAMS_RETRY_SECONDS,
} from './constants.ts'
import { formatFrame, type EventLog, type LoggedEvent } from './event-log.ts'

export interface StreamRequest {
  /** Whose stream it is; their number is bounded for each. */
  tokenId: string
  lastEventId: string | undefined
  accepts: (event: LoggedEvent) => boolean
  /** Asked with every heartbeat: a token that ended or was revoked ends its streams. */
  isAllowed: () => boolean | Promise<boolean>
  /** Aborts when the reader is gone. */
  signal: AbortSignal
  /** Breaks the connection of a reader that does not keep up. */
  cut: () => void
}

export interface EventStreamsComponents {
  log: EventLog
  registry: Registry
}

export interface EventStreamsInit {
  streamsMax?: number
  streamsPerTokenMax?: number
  heartbeatMs?: number
  stallMs?: number
}

interface OpenStream {
  tokenId: string
  position: number
  /** Since when what was written last waits for the reader; undefined while it keeps up. */
  blockedSinceMs: number | undefined
  cut: () => void
}

/** The readers of the event log. None of them holds more than a few events in memory. */
export class EventStreams implements Startable {
  readonly #log: EventLog
  readonly #init: Required<EventStreamsInit>
  readonly #streams = new Set<OpenStream>()
  readonly #cuts: Counter<'reason'>
  #stopping = new AbortController()
  #timer: NodeJS.Timeout | undefined

  constructor({ log, registry }: EventStreamsComponents, init: EventStreamsInit = {}) {
    this.#log = log
    this.#init = {
      streamsMax: STREAMS_MAX,
      streamsPerTokenMax: STREAMS_PER_TOKEN_MAX,
      heartbeatMs: HEARTBEAT_MS,
      stallMs: STALL_MS,
      ...init,
    }
    const count = (): number => this.#streams.size
    new Gauge({
      name: 'bzzz_event_streams',
      help: 'Open streams of events',
      registers: [registry],
      collect() {
        this.set(count())
      },
    })
    this.#cuts = new Counter({
      name: 'bzzz_event_streams_cut_total',
      help: 'Streams whose reader did not keep up: it fell behind the log, or read nothing',
      labelNames: ['reason'],
      registers: [registry],
    })
    for (const reason of ['overrun', 'stalled']) this.#cuts.inc({ reason }, 0)
  }

  start(): Promise<void> {
    if (this.#timer) return Promise.resolve()
    this.#stopping = new AbortController()
    this.#timer = setInterval(
      () => this.#cutStalled(),
      Math.min(STALL_CHECK_MS, this.#init.stallMs),
    )
    return Promise.resolve()
  }

  /** Every stream ends as a whole; the readers come back to another node or the next start. */
  stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#stopping.abort()
    return Promise.resolve()
  }

  /**
   * The body of one stream.
   * @throws OverloadedError when there are too many
   */
  open(request: StreamRequest): Readable {
    const { tokenId, cut } = request
    const own = [...this.#streams].filter((stream) => stream.tokenId === tokenId).length
    if (this.#streams.size >= this.#init.streamsMax || own >= this.#init.streamsPerTokenMax) {
      throw new OverloadedError('Too many streams of events are open.', STREAMS_RETRY_SECONDS)
    }
    const stream: OpenStream = { tokenId, position: 0, blockedSinceMs: undefined, cut }
    this.#streams.add(stream)
    const close = (): boolean => this.#streams.delete(stream)
    request.signal.addEventListener('abort', close, { once: true })
    // From here on nothing is missed, however late the reader begins to read.
    const opening = this.#opening(request, stream)
    const body = Readable.from(this.#frames(request, stream, opening), { highWaterMark: 1 })
    return body.once('close', close)
  }

  async *#frames(
    request: StreamRequest,
    stream: OpenStream,
    opening: string,
  ): AsyncGenerator<string> {
    const signal = AbortSignal.any([request.signal, this.#stopping.signal])
    yield* this.#write(stream, opening)
    let beatAtMs = performance.now() + this.#init.heartbeatMs
    while (!signal.aborted) {
      const text = this.#next(request, stream)
      if (text === undefined) return
      if (text !== '') yield* this.#write(stream, text)
      if (performance.now() >= beatAtMs) {
        if (!(await request.isAllowed())) return
        // An id without data dispatches nothing and moves the place to resume from.
        const id = this.#log.idOf(stream.position)
        yield* this.#write(stream, `: heartbeat\nid: ${id}\n\n`)
        beatAtMs = performance.now() + this.#init.heartbeatMs
      }
      const leftMs = Math.max(0, beatAtMs - performance.now())
      await this.#log.changed(stream.position, leftMs, signal)
    }
  }

  /** Goes on when the reader has room again. */
  async *#write(stream: OpenStream, text: string): AsyncGenerator<string> {
    stream.blockedSinceMs = performance.now()
    yield text
    stream.blockedSinceMs = undefined
  }

  #opening({ lastEventId }: StreamRequest, stream: OpenStream): string {
    const { position, gap } = this.#log.resume(lastEventId)
    stream.position = position
    const id = this.#log.idOf(position)
    const retry = `retry: ${RETRY_MS}\n`
    if (gap === null) return `${retry}id: ${id}\n\n`
    return retry + formatFrame({ event: 'gap', id, data: { reason: gap, lastEventId } })
  }

  /** What the reader is to be told next; undefined when it fell behind and was cut. */
  #next({ accepts }: StreamRequest, stream: OpenStream): string | undefined {
    let text = ''
    // Until something is there for it: what others may see is passed over at once.
    while (text === '') {
      const events = this.#log.read(stream.position, EVENTS_PER_WRITE_MAX)
      if (events === undefined) {
        this.#cut(stream, 'overrun')
        return undefined
      }
      if (events.length === 0) break
      text = events.filter(accepts).reduce((all, { frame }) => all + frame, '')
      stream.position = events.at(-1)!.position
    }
    return text
  }

  #cutStalled(): void {
    const nowMs = performance.now()
    for (const stream of this.#streams) {
      const { blockedSinceMs = nowMs } = stream
      if (nowMs - blockedSinceMs >= this.#init.stallMs) this.#cut(stream, 'stalled')
    }
  }

  #cut(stream: OpenStream, reason: 'overrun' | 'stalled'): void {
    if (!this.#streams.delete(stream)) return
    this.#cuts.inc({ reason })
    stream.cut()
  }
}
