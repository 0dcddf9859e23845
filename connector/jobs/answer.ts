import type { Dispatcher } from 'undici'

import { PROGRESS_MEDIA_TYPE } from '../../shared/function/progress.ts'
import type { JobProgress } from '../../shared/queue/job.ts'
import { REASON_BODY_CHARS_MAX, RESULT_BYTES_MAX } from '../constants.ts'
import { readProgress } from './progress-lines.ts'

/** What a function answered, read to its end. */
export interface Answer {
  status: number
  contentType: string
  sizeBytes: number
  /** Null when there was more than RESULT_BYTES_MAX. */
  body: Buffer | null
  retryAfterMs: number | null
}

/** Statuses after which the same call may succeed later. */
const TRY_AGAIN = new Set([408, 425, 429])

export type Verdict = 'good' | 'again' | 'bad'

export function verdictOf(status: number): Verdict {
  if (status >= 200 && status < 300) return 'good'
  return status >= 500 || TRY_AGAIN.has(status) ? 'again' : 'bad'
}

/** @throws when the answer is cut before its end */
export async function readAnswer(
  { statusCode, headers, body }: Dispatcher.ResponseData,
  onProgress: (progress: JobProgress) => void,
): Promise<Answer> {
  const contentType = one(headers['content-type']) ?? ''
  const retryAfterMs = retryAfterOf(one(headers['retry-after']))
  if (contentType.startsWith(PROGRESS_MEDIA_TYPE)) {
    const last = await readProgress(body, onProgress)
    const bytes = Buffer.from(last.body)
    return {
      status: last.status,
      contentType: last.contentType,
      sizeBytes: bytes.length,
      body: bytes,
      retryAfterMs,
    }
  }
  const chunks: Buffer[] = []
  let sizeBytes = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length
    if (sizeBytes <= RESULT_BYTES_MAX) chunks.push(chunk)
    else chunks.length = 0
  }
  const kept = sizeBytes <= RESULT_BYTES_MAX ? Buffer.concat(chunks) : null
  return { status: statusCode, contentType, sizeBytes, body: kept, retryAfterMs }
}

/** `echo answered 404: {"error": ...}`: the function's own words, as far as they are words. */
export function describeAnswer(
  name: string,
  { status, contentType, body }: Pick<Answer, 'status' | 'contentType' | 'body'>,
): string {
  const isText = /json|text/.test(contentType)
  const words = isText ? (body?.toString('utf8', 0, 4 * REASON_BODY_CHARS_MAX) ?? '') : ''
  // Postgres keeps no NUL in a text.
  const said = words
    .replaceAll(/\p{Cc}+/gu, ' ')
    .trim()
    .slice(0, REASON_BODY_CHARS_MAX)
  return `${name} answered ${status}${said === '' ? '.' : `: ${said}`}`
}

/** Seconds, or a date. */
export function retryAfterOf(text: string | undefined, nowMs = Date.now()): number | null {
  if (text === undefined) return null
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000
  const at = Date.parse(text)
  return Number.isNaN(at) ? null : Math.max(at - nowMs, 0)
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}
