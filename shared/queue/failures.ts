/**
 * How a handler ends a job that did not complete. None of them reaches a caller over HTTP: what is
 * left of them is the reason kept with the job.
 */

/** Worth another attempt, after the back-off or after what the function asked for. */
export class JobRetryError extends Error {
  override readonly name = 'JobRetryError'
  readonly retryAfterMs: number | null
  constructor(message: string, retryAfterMs: number | null = null) {
    super(message)
    this.retryAfterMs = retryAfterMs
  }
}

/** No further attempt would help. */
export class JobFinalError extends Error {
  override readonly name = 'JobFinalError'
}

/** Not the job's fault, so no attempt: it is taken up again a little later. */
export class JobPostponedError extends Error {
  override readonly name = 'JobPostponedError'
  readonly delayMs: number
  constructor(message: string, delayMs: number) {
    super(message)
    this.delayMs = delayMs
  }
}
