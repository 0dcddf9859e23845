import { FIELD_BYTES_MAX } from '../constants.ts'
import type { AnswerKind } from '../endpoints.ts'
import { JSONFields } from '../../../shared/json/json-fields.ts'
import type { ModelUsage } from '../../../shared/llm/model-usage.ts'
import { EventReader } from './event-reader.ts'
import { readUsage } from './usage.ts'

/** Looks at an answer as it passes. Each piece is looked at once, and none is kept. */
export interface AnswerReader {
  /** What of the piece, and of what was held back before, goes on to the caller. */
  push(chunk: Buffer): Buffer | null
  /** What was still held back. */
  end(): Buffer | null
  /** The last that the answer said about it. */
  readonly usage: ModelUsage | null
  /** The model that answered, as it calls itself. */
  readonly model: string | null
  /** Bytes of text, where usage must be estimated. */
  readonly textBytes: number
  /** Whether the answer itself says that it is at its end; null where its kind never does. */
  readonly isComplete: boolean | null
}

export function createAnswerReader(
  contentType: string,
  init: { answer: AnswerKind; withhold: boolean },
): AnswerReader {
  if (contentType.startsWith('text/event-stream')) return new EventReader(init)
  if (contentType.startsWith('application/json')) return new JSONReader()
  return new OpaqueReader()
}

/** One JSON object, such as an answer that was not streamed. */
class JSONReader implements AnswerReader {
  readonly #fields = new JSONFields({ names: ['usage', 'model'], valueBytesMax: FIELD_BYTES_MAX })
  #bytes = 0

  push(chunk: Buffer): Buffer {
    this.#bytes += chunk.length
    this.#fields.push(chunk)
    return chunk
  }

  end(): null {
    return null
  }

  get usage(): ModelUsage | null {
    return readUsage(this.#fields.value('usage'))
  }

  get model(): string | null {
    const model = this.#fields.value('model')
    return typeof model === 'string' ? model : null
  }

  get textBytes(): number {
    return this.#bytes - this.#fields.data.bytes
  }

  get isComplete(): boolean {
    return this.#fields.isComplete
  }
}

/** Sounds, images, files: bytes that say nothing about themselves. */
class OpaqueReader implements AnswerReader {
  readonly usage = null
  readonly model = null
  readonly textBytes = 0
  readonly isComplete = null

  push(chunk: Buffer): Buffer {
    return chunk
  }

  end(): null {
    return null
  }
}
