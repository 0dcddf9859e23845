import type { FunctionAnswer, Job, JobProgress, JobState } from './job.ts'

/** A function's answer as it is shown: text where it is text. */
export interface AnswerJSON {
  function: string
  status: number
  contentType: string
  size: number
  seconds: number
  /** One of the three, or none where the body could not be kept. */
  body?: string
  bodyBase64?: string
  blob?: string
}

/** A job as it is shown. Its headers are not: they may carry a token. */
export interface JobJSON {
  id: string
  topic: string
  function: string | null
  state: JobState
  progress: JobProgress | null
  attempts: number
  attemptsMax: number
  priority: number
  owner: string | null
  callbackUrl: string | null
  createdAt: string
  dueAt: string | null
  startedAt: string | null
  finishedAt: string | null
  /** Somebody asked it to end. */
  cancelled: boolean
  reason: string | null
  /** The answer of the one function that was called; of several, the first. */
  result: AnswerJSON | null
  /** The answers of all functions of a topic. */
  results: AnswerJSON[]
}

/** `bodies: false` for lists. */
export function toJobJSON(job: Job, { bodies }: { bodies: boolean }): JobJSON {
  const { data, createdAt, dueAt, startedAt, finishedAt } = job
  const results = (job.result?.answers ?? data.answered).map((answer) =>
    toAnswerJSON(answer, bodies),
  )
  return {
    id: job.id,
    topic: job.topic,
    function: data.function,
    state: job.state,
    progress: job.progress,
    attempts: job.attempts,
    attemptsMax: job.attemptsMax,
    priority: job.priority,
    owner: data.owner,
    callbackUrl: data.callbackUrl,
    createdAt: createdAt.toISOString(),
    dueAt: dueAt?.toISOString() ?? null,
    startedAt: startedAt?.toISOString() ?? null,
    finishedAt: finishedAt?.toISOString() ?? null,
    cancelled: data.cancelled,
    reason: job.reason,
    result: results[0] ?? null,
    results,
  }
}

export function toAnswerJSON(answer: FunctionAnswer, bodies = true): AnswerJSON {
  const { function: name, status, contentType, sizeBytes: size, seconds, body, blob } = answer
  return {
    ...{ function: name, status, contentType, size, seconds },
    ...(blob !== null && { blob }),
    ...(bodies && body !== null && bodyJSON(body)),
  }
}

function bodyJSON(base64: string): { body: string } | { bodyBase64: string } {
  try {
    const bytes = Buffer.from(base64, 'base64')
    return { body: new TextDecoder('utf-8', { fatal: true }).decode(bytes) }
  } catch {
    return { bodyBase64: base64 }
  }
}
