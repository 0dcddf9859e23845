import type { Batch } from './batches.ts'
import { ByteLog } from './byte-log.ts'
import { BODY_BYTES_MAX } from './constants.ts'
import type { ExchangeCall, ExchangeEnd, ExchangeRecording, RecordingMode } from './recorder.ts'

/** Why the bodies are not kept; null: they are. */
export type Withheld = 'mode' | 'overload' | 'too-large' | 'not-text' | null

/** Bytes that all recordings may hold together. */
export class MemoryBudget {
  readonly #bytesMax: number
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.#bytesMax) return false
    this.#bytes += bytes
    return true
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes
  }
}

/** A call that goes on, or that ended and waits to be stored. */
export class Recording implements ExchangeRecording {
  readonly id: string
  /** Without its body, which is held by itself and counted. */
  readonly call: Omit<ExchangeCall, 'requestBody'>
  readonly at = new Date()
  /** Null where nothing is recorded. */
  readonly batch: Batch | null
  readonly #budget: MemoryBudget
  readonly #onEnd: (recording: Recording, end: ExchangeEnd) => void
  #request: Buffer | null = null
  #response = new ByteLog()
  #withheld: Withheld
  #held = 0
  #ended = false

  constructor(
    components: {
      budget: MemoryBudget
      onEnd: (recording: Recording, end: ExchangeEnd) => void
    },
    init: { id: string; call: ExchangeCall; batch: Batch | null; mode: RecordingMode },
  ) {
    this.#budget = components.budget
    this.#onEnd = components.onEnd
    this.id = init.id
    const { requestBody, ...call } = init.call
    this.call = call
    this.batch = init.batch
    this.#withheld = init.mode === 'full' && init.batch ? null : 'mode'
    if (this.#withheld === null && this.#take(requestBody.length)) {
      this.#request = requestBody
    }
  }

  get address(): string | null {
    return this.batch && `${this.batch.name}#${this.id}`
  }

  get withheld(): Withheld {
    return this.#withheld
  }

  /** Bytes held in memory for it. */
  get held(): number {
    return this.#held
  }

  chunk(bytes: Uint8Array): void {
    if (this.#withheld !== null || this.#ended) return
    if (this.#take(bytes.length)) this.#response.append(bytes)
  }

  end(end: ExchangeEnd): void {
    if (this.#ended) return
    this.#ended = true
    this.#onEnd(this, end)
  }

  /** Null where they are withheld. */
  bodies(): { request: Buffer; response: Buffer } | null {
    const request = this.#request
    if (this.#withheld !== null || !request) return null
    return { request, response: this.#response.toBuffer() }
  }

  /** Keeps the fact alone. */
  withhold(reason: Exclude<Withheld, null>): void {
    this.#withheld = reason
    this.release()
  }

  /** The memory of the bodies is free: they are stored, or not kept. */
  release(): void {
    this.#request = null
    this.#response = new ByteLog()
    this.#budget.giveBack(this.#held)
    this.#held = 0
  }

  #take(bytes: number): boolean {
    const isTooLarge = Math.max(bytes, this.#response.length + bytes) > BODY_BYTES_MAX
    if (!isTooLarge && this.#budget.take(bytes)) {
      this.#held += bytes
      return true
    }
    this.withhold(isTooLarge ? 'too-large' : 'overload')
    return false
  }
}
