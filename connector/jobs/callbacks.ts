import { Agent, request } from 'undici'

import { InvalidRequestError } from '../../shared/errors.ts'
import { requireCallbackURL, SIGNATURE_HEADER, signCallback } from '../../shared/queue/callback.ts'
import { JobFinalError, JobRetryError } from '../../shared/queue/failures.ts'
import type { FunctionAnswer, JobResult } from '../../shared/queue/job.ts'
import type { ActiveJob, JobQueue } from '../../shared/queue/job-queue.ts'
import { CALLBACKS_TOPIC } from '../../shared/queue/names.ts'
import { CALLBACK_TIMEOUT_MS, CONNECT_TIMEOUT_MS } from '../constants.ts'
import { describeAnswer, readAnswer, verdictOf } from './answer.ts'

/** A receiver's words are read to be shown, no further. */
const RECEIVER = 'the receiver'

export interface CallbacksInit {
  hosts: readonly string[]
  secret: string | undefined
}

/**
 * Delivers how a job ended to the URL its caller gave. The delivery is a job itself, so it is
 * tried again while the receiver is away, and outlives this process.
 */
export class Callbacks {
  readonly #queue: Pick<JobQueue, 'submit'>
  readonly #init: CallbacksInit
  readonly #agent = new Agent({
    connect: { timeout: CONNECT_TIMEOUT_MS },
    headersTimeout: CALLBACK_TIMEOUT_MS,
    bodyTimeout: CALLBACK_TIMEOUT_MS,
  })

  constructor({ queue }: { queue: Pick<JobQueue, 'submit'> }, init: CallbacksInit) {
    this.#queue = queue
    this.#init = init
  }

  /** The same end of the same job is announced once, however often this is called. */
  async announce(
    job: ActiveJob,
    answers: readonly FunctionAnswer[],
    reason: string | null,
  ): Promise<void> {
    const { callbackUrl, function: name } = job.data
    if (callbackUrl === null) return
    const answer = answers.find(({ status }) => reason === null || verdictOf(status) !== 'good')
    const failure = { error: { code: 'BZZZ_JOB_FAILED', message: reason } }
    await this.#queue.submit({
      topic: CALLBACKS_TOPIC,
      key: `${job.id} ${reason === null ? 'completed' : 'failed'}`,
      callbackUrl,
      call: {
        function: null,
        path: '/',
        headers: {
          'content-type': answer?.contentType || 'application/json',
          'x-call-id': job.id,
          'x-function-name': answer?.function ?? name ?? job.topic,
          'x-function-status': String(answer?.status ?? 500),
          'x-duration-seconds': String(answer?.seconds ?? 0),
          ...(answer?.blob && { 'x-bzzz-blob': answer.blob }),
        },
        body: answer
          ? (answer.body ?? '')
          : Buffer.from(JSON.stringify(failure)).toString('base64'),
      },
    })
  }

  /** Handles a job of CALLBACKS_TOPIC. @throws JobRetryError, JobFinalError */
  async deliver({ data, signal }: ActiveJob): Promise<JobResult> {
    const url = this.#urlOf(data.callbackUrl)
    const body = Buffer.from(data.body, 'base64')
    const startedAt = performance.now()
    const answer = await this.#send(url, data.headers, body, signal)
    const verdict = verdictOf(answer.status)
    if (verdict === 'again') {
      throw new JobRetryError(describeAnswer(RECEIVER, answer), answer.retryAfterMs)
    }
    if (verdict === 'bad') throw new JobFinalError(describeAnswer(RECEIVER, answer))
    const { status, contentType, sizeBytes } = answer
    const seconds = Math.round(performance.now() - startedAt) / 1000
    const shown = { function: url, status, contentType, sizeBytes, seconds, body: null, blob: null }
    return { answers: [shown] }
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }

  /** Asked again: the list may be shorter than when the job was taken in. */
  #urlOf(text: string | null): string {
    try {
      return requireCallbackURL(text ?? '', this.#init.hosts)
    } catch (error) {
      if (error instanceof InvalidRequestError) throw new JobFinalError(error.message)
      throw error
    }
  }

  async #send(
    url: string,
    headers: Readonly<Record<string, string>>,
    body: Buffer,
    signal: AbortSignal,
  ) {
    const { secret } = this.#init
    const seconds = Math.floor(Date.now() / 1000)
    try {
      const response = await request(url, {
        method: 'POST',
        headers: {
          ...headers,
          ...(secret !== undefined && { [SIGNATURE_HEADER]: signCallback(secret, body, seconds) }),
        },
        body,
        dispatcher: this.#agent,
        signal: AbortSignal.any([signal, AbortSignal.timeout(CALLBACK_TIMEOUT_MS)]),
      })
      return await readAnswer(response, () => undefined)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new JobRetryError(`The callback could not be delivered: ${reason}`)
    }
  }
}
