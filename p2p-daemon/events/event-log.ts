import { EVENTS_KEPT_BYTES_MAX, EVENTS_KEPT_MAX } from './constants.ts'
import type { NodeEvent } from './event.ts'

/** An event with its place and the text of its frame, made once for all readers. */
export interface LoggedEvent extends NodeEvent {
  position: number
  frame: string
}

/** Why events are missing: the node was started anew, or the reader was away for too long. */
export type GapReason = 'restarted' | 'overwritten' | 'unknown'

export interface Resumption {
  /** The position after which the stream goes on. */
  position: number
  gap: GapReason | null
}

export interface EventLogInit {
  /** Differs from start to start: positions of another run mean nothing. */
  epoch: string
  keptMax?: number
  keptBytesMax?: number
}

/**
 * The last events of this node, in memory, by position. Readers keep a position of their own, so
 * that a slow one costs nothing; the oldest events are overwritten, which is never passed over in
 * silence: see `resume` and `read`.
 */
export class EventLog {
  readonly #epoch: string
  readonly #keptMax: number
  readonly #keptBytesMax: number
  readonly #waiting = new Set<() => void>()
  readonly #events = new Map<number, LoggedEvent>()
  #bytes = 0
  #first = 1
  #next = 1

  constructor(init: EventLogInit) {
    this.#epoch = init.epoch
    this.#keptMax = init.keptMax ?? EVENTS_KEPT_MAX
    this.#keptBytesMax = init.keptBytesMax ?? EVENTS_KEPT_BYTES_MAX
  }

  /** Position of the newest event; 0 before there was one. */
  get last(): number {
    return this.#next - 1
  }

  append(event: NodeEvent): void {
    const position = this.#next
    const data = { at: new Date().toISOString(), ...event.data }
    const frame = formatFrame({ event: event.type, id: this.idOf(position), data })
    this.#events.set(position, { ...event, position, frame })
    this.#bytes += frame.length
    this.#next += 1
    while (this.#events.size > this.#keptMax || this.#bytes > this.#keptBytesMax) this.#dropFirst()
    for (const wake of this.#waiting) wake()
  }

  idOf(position: number): string {
    return `${this.#epoch}-${position}`
  }

  /** Where a reader goes on that last saw the event of this id; without one, with what comes. */
  resume(lastEventId: string | undefined): Resumption {
    if (lastEventId === undefined) return { position: this.last, gap: null }
    const oldest = this.#first - 1
    const [, epoch, digits] = /^([a-z0-9]+)-(\d{1,15})$/.exec(lastEventId) ?? []
    const position = Number(digits)
    if (epoch === undefined) return { position: oldest, gap: 'unknown' }
    if (epoch !== this.#epoch) return { position: oldest, gap: 'restarted' }
    if (position > this.last) return { position: oldest, gap: 'unknown' }
    if (position < oldest) return { position: oldest, gap: 'overwritten' }
    return { position, gap: null }
  }

  /** At most `limit` events after a position; undefined when some of them were overwritten. */
  read(after: number, limit: number): LoggedEvent[] | undefined {
    if (after < this.#first - 1) return undefined
    const events: LoggedEvent[] = []
    for (let at = after + 1; at < this.#next && events.length < limit; at += 1) {
      events.push(this.#events.get(at)!)
    }
    return events
  }

  /** Resolves once there is something after the position, the time is up or the signal aborts. */
  async changed(after: number, timeoutMs: number, signal: AbortSignal): Promise<void> {
    if (this.last > after || signal.aborted) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(done)
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, timeoutMs)
      this.#waiting.add(done)
      signal.addEventListener('abort', done)
    })
  }

  #dropFirst(): void {
    this.#bytes -= this.#events.get(this.#first)!.frame.length
    this.#events.delete(this.#first)
    this.#first += 1
  }
}

/** One event as `text/event-stream` has it. JSON holds no line break, so `data` is one line. */
export function formatFrame({ event, id, data }: { event: string; id: string; data: object }) {
  return `event: ${event}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`
}
