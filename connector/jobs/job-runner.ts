import { JobFinalError, JobPostponedError, JobRetryError } from '../../shared/queue/failures.ts'
import type { FunctionAnswer, JobProgress, JobResult } from '../../shared/queue/job.ts'
import { toAnswerJSON } from '../../shared/queue/job-json.ts'
import type { ActiveJob } from '../../shared/queue/job-queue.ts'
import {
  ANNOUNCE_AGAIN_MS,
  CANCEL_POLL_MS,
  NO_FUNCTION_DELAY_MS,
  PROGRESS_INTERVAL_MS,
} from '../constants.ts'
import type { Subscriptions } from '../subscriptions.ts'
import { describeAnswer, verdictOf } from './answer.ts'
import type { FunctionCaller } from './function-caller.ts'

export interface JobRunnerComponents {
  caller: Pick<FunctionCaller, 'call'>
  /** As they are now. */
  subscriptions: () => Subscriptions
  /** The connector's own, for functions that ask for it. */
  token: () => string
  /** Tells whoever asked for it how the job ended. */
  announce: (
    job: ActiveJob,
    answers: readonly FunctionAnswer[],
    reason: string | null,
  ) => Promise<void>
}

export interface JobRunnerInit {
  timeoutMs: number
}

/** Runs one job: calls its function, or every function of its topic that has not answered yet. */
export class JobRunner {
  readonly #components: JobRunnerComponents
  readonly #init: JobRunnerInit

  constructor(components: JobRunnerComponents, init: JobRunnerInit) {
    this.#components = components
    this.#init = init
  }

  /** @throws JobRetryError, JobFinalError, JobPostponedError */
  async run(job: ActiveJob): Promise<JobResult> {
    const { announce } = this.#components
    const answers = [...job.data.answered]
    try {
      // Asked for while its connector was gone.
      if (job.data.cancelled) throw cancelled()
      await this.#callAll(job, answers)
      const bad = answers.find(({ status }) => verdictOf(status) === 'bad')
      if (bad) throw new JobFinalError(finalReason(bad))
    } catch (error) {
      // Kept first: a function that has answered is not called again.
      if (answers.length > job.data.answered.length) await job.update({ answered: answers })
      if (isEnd(job, error)) await announce(job, answers, reasonOf(error))
      throw error
    }
    // Before the job counts as completed: a crash in between announces twice under one id.
    await announce(job, answers, null).catch(postpone)
    return { answers }
  }

  async #callAll(job: ActiveJob, answers: FunctionAnswer[]): Promise<void> {
    const targets = this.#targets(job).filter(
      (name) => !answers.some((answer) => answer.function === name),
    )
    const body = job.data.hasChildren && job.data.body === '' ? await childrenBody(job) : undefined
    const watch = watchJob(job, this.#init.timeoutMs)
    const report = throttled(job)
    try {
      const calls = targets.map(async (name) => {
        const authorized = this.#components.subscriptions().authorized.has(name)
        const answer = await this.#components.caller.call(job, name, {
          ...(body && { body }),
          token: authorized ? this.#components.token() : null,
          signal: watch.signal,
          onProgress: report,
        })
        answers.push(answer)
      })
      const outcomes = await Promise.allSettled(calls)
      const failures = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
      if (failures.length > 0) throw worst(failures)
    } finally {
      watch.stop()
    }
  }

  #targets({ data, topic }: ActiveJob): readonly string[] {
    if (data.function !== null) return [data.function]
    const functions = this.#components.subscriptions().topics.get(topic)?.functions ?? []
    if (functions.length > 0) return functions
    throw new JobPostponedError(`No function subscribes to ${topic}.`, NO_FUNCTION_DELAY_MS)
  }
}

/** Aborts when the job is lost or given back, takes too long, or somebody cancels it. */
function watchJob(job: ActiveJob, timeoutMs: number): { signal: AbortSignal; stop(): void } {
  const ending = new AbortController()
  const late = setTimeout(() => {
    ending.abort(new JobRetryError(`The attempt took longer than ${timeoutMs} ms.`))
  }, timeoutMs)
  const poll = setInterval(() => {
    job.isCancelled().then(
      (wanted) => {
        if (wanted) ending.abort(cancelled())
      },
      // The queue is away: it is asked again.
      () => undefined,
    )
  }, CANCEL_POLL_MS)
  return {
    signal: AbortSignal.any([job.signal, ending.signal]),
    stop: () => {
      clearTimeout(late)
      clearInterval(poll)
    },
  }
}

function cancelled(): JobFinalError {
  return new JobFinalError('The job was cancelled.')
}

/** A report that cannot be written is no reason to end the work. */
function throttled(job: ActiveJob): (progress: JobProgress) => void {
  let writtenMs = Number.NEGATIVE_INFINITY
  return (progress) => {
    const nowMs = performance.now()
    if (nowMs - writtenMs < PROGRESS_INTERVAL_MS && progress.percent < 100) return
    writtenMs = nowMs
    job.reportProgress(progress).catch(() => undefined)
  }
}

async function childrenBody(job: ActiveJob): Promise<Buffer> {
  const results = Object.entries(await job.children())
  const children = results.map(([id, { answers }]) => ({
    id,
    results: answers.map((answer) => toAnswerJSON(answer)),
  }))
  return Buffer.from(JSON.stringify({ children }))
}

/** The function has done its part, so this costs no attempt; it is given the same key again. */
function postpone(error: unknown): never {
  throw new JobPostponedError(reasonOf(error), ANNOUNCE_AGAIN_MS)
}

/** What decides over the whole when several calls fail: another attempt, if one may help. */
function worst(failures: readonly unknown[]): unknown {
  const retries = failures.filter((one) => one instanceof JobRetryError)
  const longest = retries.toSorted((a, b) => (b.retryAfterMs ?? 0) - (a.retryAfterMs ?? 0))[0]
  return longest ?? failures[0]
}

function isEnd(job: ActiveJob, error: unknown): boolean {
  if (error instanceof JobFinalError) return true
  return job.isLastAttempt && !(error instanceof JobPostponedError) && !job.signal.aborted
}

function finalReason({ function: name, body, ...answer }: FunctionAnswer): string {
  return describeAnswer(name, { ...answer, body: Buffer.from(body ?? '', 'base64') })
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
