import { SCHEDULE_HEADER } from '../../shared/queue/schedule.ts'
import { JobPostponedError, JobRetryError } from '../../shared/queue/failures.ts'
import type { FunctionAnswer, JobProgress } from '../../shared/queue/job.ts'
import type { ActiveJob } from '../../shared/queue/job-queue.ts'
import { PROGRESS_MEDIA_TYPE } from '../../shared/function/progress.ts'
import { GATEWAY_AWAY_DELAY_MS, RESULT_INLINE_BYTES_MAX } from '../constants.ts'
import { isNotConnected, type GatewayClient } from '../gateway-client.ts'
import { describeAnswer, readAnswer, verdictOf, type Answer } from './answer.ts'

/** Progress; and the type without which OpenFaaS's watchdog keeps a stream back until its end. */
const STREAMS = `${PROGRESS_MEDIA_TYPE}, application/x-ndjson;q=0.8`

export interface FunctionCallerComponents {
  gateway: Pick<GatewayClient, 'call'>
  /** Keeps a body that is too large for the queue; null when nothing can. */
  keepBlob(body: Buffer, signal: AbortSignal): Promise<string | null>
}

export interface CallOptions {
  /** Instead of the job's own, for the parent of a flow. */
  body?: Buffer
  /** Added to the headers of a scheduled call. */
  token: string | null
  signal: AbortSignal
  onProgress(progress: JobProgress): void
}

/** Makes one call of one function for a job, and says what its answer means. */
export class FunctionCaller {
  readonly #components: FunctionCallerComponents

  constructor(components: FunctionCallerComponents) {
    this.#components = components
  }

  /**
   * Resolves with an answer that stands: a good one, or one that would not change.
   * @throws JobRetryError, JobPostponedError
   */
  async call(job: ActiveJob, name: string, options: CallOptions): Promise<FunctionAnswer> {
    const startedAt = performance.now()
    const answer = await this.#send(job, name, options)
    const verdict = verdictOf(answer.status)
    if (verdict === 'again')
      throw new JobRetryError(describeAnswer(name, answer), answer.retryAfterMs)
    return {
      function: name,
      status: answer.status,
      contentType: answer.contentType,
      sizeBytes: answer.sizeBytes,
      seconds: Math.round(performance.now() - startedAt) / 1000,
      ...(await this.#keep(answer, options.signal)),
    }
  }

  async #send(job: ActiveJob, name: string, options: CallOptions): Promise<Answer> {
    const { path, body } = job.data
    try {
      const response = await this.#components.gateway.call({
        function: name,
        path,
        headers: headersOf(job, options),
        body: options.body ?? Buffer.from(body, 'base64'),
        signal: options.signal,
      })
      return await readAnswer(response, (progress) => options.onProgress(progress))
    } catch (error) {
      // The caller of this knows why it gave up.
      if (options.signal.aborted) throw options.signal.reason
      if (isNotConnected(error)) {
        const delayMs = GATEWAY_AWAY_DELAY_MS * (1 + Math.random())
        throw new JobPostponedError('The gateway does not answer.', Math.round(delayMs))
      }
      const reason = error instanceof Error ? error.message : String(error)
      throw new JobRetryError(`The call of ${name} broke off: ${reason}`)
    }
  }

  async #keep(
    { body, sizeBytes }: Answer,
    signal: AbortSignal,
  ): Promise<{ body: string | null; blob: string | null }> {
    if (body === null) return { body: null, blob: null }
    if (sizeBytes <= RESULT_INLINE_BYTES_MAX) return { body: body.toString('base64'), blob: null }
    return { body: null, blob: await this.#components.keepBlob(body, signal) }
  }
}

function headersOf(job: ActiveJob, { token }: CallOptions): Record<string, string> {
  const { headers, idempotencyKey } = job.data
  const { accept } = headers
  return {
    ...headers,
    accept: `${accept ?? '*/*;q=0.9'}, ${STREAMS}`,
    'x-call-id': job.id,
    // The runs of a schedule share their data, so the key of each is its id.
    'idempotency-key': idempotencyKey === '' ? job.id : idempotencyKey,
    'x-job-attempt': String(job.attempt),
    'x-connector': 'bzzz',
    ...(job.data.function === null && { 'x-topic': job.topic }),
    ...(job.scheduled && { [SCHEDULE_HEADER]: job.data.function ?? '' }),
    ...(job.scheduled && token !== null && { authorization: `Bearer ${token}` }),
  }
}
