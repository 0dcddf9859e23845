import { FORM_BYTES_MAX, JSON_REQUEST_BYTES_MAX } from './constants.ts'

/** What an answer reports its tokens as; see answer/usage.ts. */
export type AnswerKind = 'chat' | 'responses' | 'other'

/** One route of OpenAI's API, which the same path of the upstream answers. */
export interface Endpoint {
  method: 'GET' | 'POST' | 'DELETE'
  /** Below `/v1` here, and below the base URL there. */
  path: string
  /** Names the kind of call in metrics; after OpenTelemetry's `gen_ai.operation.name`. */
  operation: string
  /**
   * `json` and `form` carry the model and are held in memory, so that they can be sent again;
   * `stream` goes through as it comes.
   */
  body: 'json' | 'form' | 'stream' | 'none'
  answer: AnswerKind
  /** Whether the path names something that one upstream keeps: they are asked in turn. */
  kept?: true
  /** Shows what all projects have put there. */
  projects?: 'every'
}

const json = { method: 'POST', body: 'json', answer: 'other' } as const
const form = { method: 'POST', body: 'form', answer: 'other' } as const
const kept = { body: 'none', answer: 'other', kept: true } as const

export const ENDPOINTS: readonly Endpoint[] = [
  { ...json, path: '/chat/completions', operation: 'chat', answer: 'chat' },
  { ...json, path: '/completions', operation: 'text_completion', answer: 'chat' },
  { ...json, path: '/embeddings', operation: 'embeddings' },
  { ...json, path: '/moderations', operation: 'moderation' },
  { ...json, path: '/responses', operation: 'responses', answer: 'responses' },
  { ...json, path: '/responses/input_tokens', operation: 'responses' },
  { ...kept, method: 'GET', path: '/responses/:id', operation: 'responses' },
  { ...kept, method: 'DELETE', path: '/responses/:id', operation: 'responses' },
  { ...kept, method: 'POST', path: '/responses/:id/cancel', operation: 'responses' },
  { ...kept, method: 'GET', path: '/responses/:id/input_items', operation: 'responses' },
  { ...json, path: '/images/generations', operation: 'image_generation' },
  { ...form, path: '/images/edits', operation: 'image_generation' },
  { ...form, path: '/images/variations', operation: 'image_generation' },
  { ...json, path: '/audio/speech', operation: 'speech' },
  { ...form, path: '/audio/transcriptions', operation: 'transcription' },
  { ...form, path: '/audio/translations', operation: 'transcription' },
  { method: 'POST', path: '/files', operation: 'files', body: 'stream', answer: 'other' },
  { ...kept, method: 'GET', path: '/files', operation: 'files', projects: 'every' },
  { ...kept, method: 'GET', path: '/files/:id', operation: 'files' },
  { ...kept, method: 'DELETE', path: '/files/:id', operation: 'files' },
  { ...kept, method: 'GET', path: '/files/:id/content', operation: 'files' },
]

/** What each upstream has; answered from all of them together. */
export const MODELS_ENDPOINT: Endpoint = {
  method: 'GET',
  path: '/models',
  operation: 'models',
  body: 'none',
  answer: 'other',
}

export function bytesMaxOf({ body }: Endpoint): number {
  return body === 'form' ? FORM_BYTES_MAX : JSON_REQUEST_BYTES_MAX
}
