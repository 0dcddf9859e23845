import { EVENT_BYTES_MAX, HELD_BYTES_MAX } from '../constants.ts'
import type { AnswerKind } from '../endpoints.ts'
import type { ModelUsage } from '../../../shared/llm/model-usage.ts'
import type { AnswerReader } from './answer-reader.ts'
import { readUsage } from './usage.ts'

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d

const DATA = Buffer.from('data:')
const DONE = Buffer.from('[DONE]')
const USAGE = Buffer.from('"usage"')
const RESPONSE_ENDS = [
  Buffer.from('"response.completed"'),
  Buffer.from('"response.incomplete"'),
  Buffer.from('"response.failed"'),
]

/** An event with a usage that is an object, and not `"usage":null` as all others of a stream. */
const HAS_USAGE = /"usage"\s*:\s*\{/

interface UsageEvent {
  usage?: unknown
  model?: unknown
  choices?: unknown
  response?: { usage?: unknown; model?: unknown } | null
}

/**
 * Reads the events of a stream as they pass. Pieces go on untouched, whatever is in them; only
 * where a chunk of usage was asked for in the caller's name is an event held until its end, and
 * taken out if it is that one.
 */
export class EventReader implements AnswerReader {
  readonly #answer: AnswerKind
  #withhold: boolean
  /** The begin of a line whose end has not come, in pieces. */
  #line: Buffer[] = []
  #lineBytes = 0
  /** The begin of an event whose end has not come. */
  #held: Buffer = EMPTY
  #isUsageOnly = false
  #isDone = false
  #usage: ModelUsage | null = null
  #model: string | null = null
  #dataBytes = 0
  #dataLines = 0
  #shortestBytes = Number.POSITIVE_INFINITY

  constructor(init: { answer: AnswerKind; withhold: boolean }) {
    this.#answer = init.answer
    this.#withhold = init.withhold
  }

  get usage(): ModelUsage | null {
    return this.#usage
  }

  get model(): string | null {
    return this.#model
  }

  /** Every event has the same frame; what is more than the shortest one is text. */
  get textBytes(): number {
    if (this.#dataLines === 0) return 0
    return this.#dataBytes - this.#dataLines * this.#shortestBytes
  }

  get isComplete(): boolean {
    return this.#isDone
  }

  push(chunk: Buffer): Buffer | null {
    if (this.#withhold) return this.#pass(chunk)
    let at = 0
    for (;;) {
      const end = chunk.indexOf(LINE_FEED, at)
      if (end === -1) break
      this.#look(this.#takeLine(chunk.subarray(at, end)))
      at = end + 1
    }
    this.#keepLine(chunk.subarray(at))
    return chunk
  }

  end(): Buffer | null {
    const held = this.#held
    this.#held = EMPTY
    return held.length > 0 ? held : null
  }

  /** As `push`, for whole events only. */
  #pass(chunk: Buffer): Buffer | null {
    const bytes = this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : chunk
    const kept: Buffer[] = []
    let eventAt = 0
    let keptAt = 0
    let at = 0
    for (;;) {
      const end = bytes.indexOf(LINE_FEED, at)
      if (end === -1) break
      const isBlank = end === at || (end === at + 1 && bytes[at] === CARRIAGE_RETURN)
      at = end + 1
      if (!isBlank) continue
      this.#lookAtEvent(bytes.subarray(eventAt, at))
      if (this.#isUsageOnly) {
        this.#isUsageOnly = false
        if (eventAt > keptAt) kept.push(bytes.subarray(keptAt, eventAt))
        keptAt = at
      }
      eventAt = at
    }
    this.#held = bytes.subarray(eventAt)
    let goesOnTo = eventAt
    if (this.#held.length > HELD_BYTES_MAX) {
      // No event of usage is that long. It and all that follows go on unchanged.
      this.#withhold = false
      goesOnTo = bytes.length
      this.#held = EMPTY
    }
    if (goesOnTo > keptAt) kept.push(bytes.subarray(keptAt, goesOnTo))
    if (kept.length <= 1) return kept[0] ?? null
    return Buffer.concat(kept)
  }

  #lookAtEvent(event: Buffer): void {
    let at = 0
    for (;;) {
      const end = event.indexOf(LINE_FEED, at)
      if (end === -1) return
      if (end > at) this.#look(event.subarray(at, end))
      at = end + 1
    }
  }

  #takeLine(end: Buffer): Buffer {
    if (this.#line.length === 0) {
      this.#lineBytes = 0
      return end
    }
    const line = Buffer.concat([...this.#line, end])
    this.#line = []
    this.#lineBytes = 0
    return line
  }

  #keepLine(begin: Buffer): void {
    this.#lineBytes += begin.length
    // A longer line passes on unread; what is kept of it is nothing that could be parsed.
    if (begin.length > 0 && this.#lineBytes <= EVENT_BYTES_MAX) this.#line.push(begin)
    else if (this.#lineBytes > EVENT_BYTES_MAX) this.#line = []
  }

  #look(line: Buffer): void {
    if (!startsWith(line, DATA)) return
    const data = line.subarray(line[DATA.length] === 0x20 ? DATA.length + 1 : DATA.length)
    if (startsWith(data, DONE)) {
      this.#isDone = true
      return
    }
    this.#dataLines += 1
    this.#dataBytes += data.length
    if (data.length < this.#shortestBytes) this.#shortestBytes = data.length
    if (this.#answer === 'responses') {
      if (RESPONSE_ENDS.some((type) => data.includes(type))) this.#isDone = true
    }
    if (data.includes(USAGE)) this.#readUsage(data.toString())
  }

  #readUsage(text: string): void {
    if (!HAS_USAGE.test(text)) return
    let event: UsageEvent
    try {
      event = JSON.parse(text) as UsageEvent
    } catch {
      // Not ours to judge: the caller gets it as it came.
      return
    }
    const said = readUsage(event.usage ?? event.response?.usage)
    if (!said) return
    this.#usage = said
    const model = event.model ?? event.response?.model
    if (typeof model === 'string') this.#model = model
    this.#isUsageOnly = Array.isArray(event.choices) && event.choices.length === 0
  }
}

const EMPTY = Buffer.alloc(0)

function startsWith(bytes: Buffer, prefix: Buffer): boolean {
  return (
    bytes.length >= prefix.length && bytes.compare(prefix, 0, prefix.length, 0, prefix.length) === 0
  )
}
