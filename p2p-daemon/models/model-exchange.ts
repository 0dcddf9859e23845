import { z } from 'zod'

/** What is asked of a server with OpenAI's API, below its base URL. */
export const MODEL_PATHS = [
  '/chat/completions',
  '/completions',
  '/embeddings',
  '/responses',
] as const

export const requestHeadSchema = z.object({
  path: z.enum(MODEL_PATHS),
  model: z.string().min(1).max(256),
  accept: z.string().max(256).default('*/*'),
})

export type RequestHead = z.output<typeof requestHeadSchema>

/** Headers of an answer that go on to the caller. */
export const ANSWER_HEADERS = ['content-type', 'content-length', 'retry-after', 'x-request-id']

export const answerHeadSchema = z.object({
  status: z.int().min(200).max(599),
  headers: z.record(z.string().max(64), z.string().max(1024)),
})

/** An answer on its way: its head, and its body, which throws where it has no end. */
export interface ModelAnswer extends z.output<typeof answerHeadSchema> {
  /** Who served it. */
  peerId: string
  body: AsyncIterable<Uint8Array>
}

/** Serves or passes on one call. @throws before the head; the body throws behind it */
export type ModelService = (
  head: RequestHead,
  body: Uint8Array,
  signal: AbortSignal,
) => Promise<ModelAnswer>
