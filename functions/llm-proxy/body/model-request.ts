import { InvalidRequestError } from '../../../shared/errors.ts'
import { FIELD_BYTES_MAX, MODEL_CHARS_MAX } from '../constants.ts'
import type { Endpoint } from '../endpoints.ts'
import { JSONFields } from '../../../shared/json/json-fields.ts'
import { findFormField } from './form-field.ts'

/** What is looked at in a request. Everything else is handed on without having been read. */
const FIELDS = [
  'model',
  'stream',
  'stream_options',
  'n',
  'max_tokens',
  'max_completion_tokens',
  'max_output_tokens',
] as const

/** Calls that mean nothing without a model; others have one of their own where it is left out. */
const NEEDS_MODEL = new Set(['/chat/completions', '/completions', '/embeddings'])

interface Edit {
  start: number
  end: number
  text: string
}

/** A request for a model as it came, and the few things that are known of it. */
export class ModelRequest {
  readonly bytes: Buffer
  readonly model: string | null
  readonly stream: boolean
  readonly #endpoint: Endpoint
  readonly #fields: JSONFields | null
  readonly #modelAt: { start: number; end: number } | null
  /** As the caller wrote it: how many answers to the same question. */
  readonly #answers: unknown

  /** @throws InvalidRequestError */
  constructor(endpoint: Endpoint, bytes: Buffer, contentType: string) {
    this.bytes = bytes
    this.#endpoint = endpoint
    if (endpoint.body === 'form') {
      this.#fields = null
      this.#modelAt = findFormField(bytes, contentType, 'model')
      const { start, end } = this.#modelAt ?? { start: 0, end: 0 }
      this.model = start === end ? null : checkModel(bytes.subarray(start, end).toString())
      this.stream = false
      const isImage = endpoint.operation === IMAGE_GENERATION
      const count = isImage ? findFormField(bytes, contentType, 'n') : null
      this.#answers = count ? Number(bytes.subarray(count.start, count.end).toString()) : 1
      return
    }
    const fields = new JSONFields({ names: FIELDS, valueBytesMax: FIELD_BYTES_MAX })
    fields.push(bytes)
    if (!fields.isComplete) throw new InvalidRequestError('The body is not a JSON object.')
    if (fields.repeated !== null) {
      throw new InvalidRequestError(`The body says ${fields.repeated} twice.`)
    }
    this.#fields = fields
    this.#modelAt = fields.get('model') ?? null
    this.stream = fields.value('stream') === true
    this.#answers = fields.value('n')
    const model = this.#modelAt === null ? undefined : fields.value('model')
    if (this.#modelAt !== null && typeof model !== 'string' && model !== null) {
      throw new InvalidRequestError('model: the name of a model as a string.')
    }
    this.model = typeof model === 'string' ? checkModel(model) : null
    if (this.model === null && NEEDS_MODEL.has(endpoint.path)) {
      throw new InvalidRequestError('model: say which model is to answer.')
    }
  }

  /** True when usage comes in a chunk of its own that the caller did not ask for. */
  withholdsUsage(includeUsage: boolean): boolean {
    return includeUsage && this.stream && this.#endpoint.answer === 'chat' && !this.#asksForUsage()
  }

  /**
   * The bytes for an upstream. At most the value of `model` and of `stream_options` differ from
   * what came.
   */
  bytesFor(model: string | null, includeUsage: boolean): Buffer {
    const edits: Edit[] = []
    if (model !== null && model !== this.model && this.#modelAt) {
      const text = this.#fields ? JSON.stringify(model) : model
      edits.push({ ...this.#modelAt, text })
    }
    if (this.withholdsUsage(includeUsage)) edits.push(this.#usageEdit())
    return edits.length === 0 ? this.bytes : apply(this.bytes, edits)
  }

  /** Tokens by rule of thumb: four bytes of text, and a flat price for an image or a sound. */
  estimateInputTokens(): number {
    const data = this.#fields?.data ?? { strings: 0, bytes: 0 }
    const textBytes = this.#fields ? this.bytes.length - data.bytes : 0
    return Math.ceil(textBytes / BYTES_PER_TOKEN) + data.strings * TOKENS_PER_DATA
  }

  /** What the caller allows for all answers together; null where it sets no bound. */
  outputTokensMax(): number | null {
    const fields = this.#fields
    if (!fields) return null
    const given = ['max_completion_tokens', 'max_output_tokens', 'max_tokens']
      .map((name) => fields.value(name))
      .find((value) => typeof value === 'number' && value > 0)
    if (typeof given !== 'number') return null
    return Math.ceil(given) * this.#count()
  }

  /** Pictures that are to be made, where the upstream does not tell what it used. */
  images(): number {
    return this.#endpoint.operation === IMAGE_GENERATION ? Math.min(this.#count(), IMAGES_MAX) : 0
  }

  #count(): number {
    const answers = this.#answers
    return typeof answers === 'number' && answers > 1 ? Math.ceil(answers) : 1
  }

  #asksForUsage(): boolean {
    const options = this.#fields?.value('stream_options')
    return (options as { include_usage?: unknown } | null | undefined)?.include_usage === true
  }

  #usageEdit(): Edit {
    const fields = this.#fields!
    const options = fields.get('stream_options')
    const wanted = { ...(fields.value('stream_options') as object | null), include_usage: true }
    if (options) return { ...options, text: JSON.stringify(wanted) }
    const { end } = fields.get('stream')!
    return { start: end, end, text: `,"stream_options":${JSON.stringify(wanted)}` }
  }
}

/** English prose in the tokenizers in use; other languages and code have more tokens a byte. */
const BYTES_PER_TOKEN = 4

const IMAGE_GENERATION = 'image_generation'

/** OpenAI makes ten at once. */
const IMAGES_MAX = 100

/** An image of middling size costs about as much. */
const TOKENS_PER_DATA = 1000

function checkModel(model: string): string {
  if (model === '' || model.length > MODEL_CHARS_MAX) {
    throw new InvalidRequestError(`model: a name of 1 to ${MODEL_CHARS_MAX} characters.`)
  }
  return model
}

function apply(bytes: Buffer, edits: Edit[]): Buffer {
  const pieces: Buffer[] = []
  let at = 0
  for (const { start, end, text } of edits.toSorted((a, b) => a.start - b.start)) {
    pieces.push(bytes.subarray(at, start), Buffer.from(text))
    at = end
  }
  pieces.push(bytes.subarray(at))
  return Buffer.concat(pieces)
}
