import { DelayedError, Job as BullJob, UnrecoverableError, WaitingError } from 'bullmq'
import type { MinimalQueue } from 'bullmq'

import type { Logger } from '../log/log.ts'
import type { Backend, BullWorker } from './backend.ts'
import { backoffMs } from './backoff.ts'
import type { BullQueueJob } from './bull-job.ts'
import { LOCK_MS, STALLS_MAX, WORKER_RETRY_MS } from './constants.ts'
import { JobFinalError, JobPostponedError } from './failures.ts'
import type { JobData, JobResult } from './job.ts'
import type { ActiveJob, JobHandler, JobWorker, WorkOptions } from './job-queue.ts'
import { RETENTION } from './new-data.ts'

export interface BullJobWorkerComponents {
  backend: Backend
  log: Logger
}

export interface BullJobWorkerInit extends WorkOptions {
  topic: string
  handler: JobHandler
}

/**
 * A worker of BullMQ with our meaning of failures. A job whose worker is gone lies still until its
 * lock runs out; then any worker of the topic finds it and it is run again.
 */
export class BullJobWorker implements JobWorker {
  readonly topic: string
  readonly #log: Logger
  readonly #handler: JobHandler
  readonly #worker: BullWorker
  /** Aborts when those in hand are to be given back. */
  readonly #giveBack = new AbortController()
  #lastProblem = ''

  private constructor({ backend, log }: BullJobWorkerComponents, init: BullJobWorkerInit) {
    const { topic, handler, concurrency, lockMs = LOCK_MS } = init
    this.topic = topic
    this.#log = log.child({ topic })
    this.#handler = handler
    this.#worker = backend.createWorker(
      topic,
      // Three arguments: only then BullMQ makes a signal that tells of a lost lock.
      (job, token, signal) => this.#process(job as BullQueueJob, token ?? '', signal),
      {
        autorun: false,
        concurrency,
        lockDuration: lockMs,
        stalledInterval: lockMs,
        maxStalledCount: STALLS_MAX,
        runRetryDelay: WORKER_RETRY_MS,
        settings: { backoffStrategy: (attempts, _type, error) => backoffMs(attempts, error) },
        ...RETENTION,
      },
    )
    this.#worker.on('error', (error) => this.#tell(error))
    // Somebody else has the job by now: what this worker does for it is done twice.
    this.#worker.on('lockRenewalFailed', (ids) => {
      for (const id of ids) this.#worker.cancelJob(id, 'The lock of the job was lost.')
    })
  }

  static async start(
    components: BullJobWorkerComponents,
    init: BullJobWorkerInit,
  ): Promise<BullJobWorker> {
    const worker = new BullJobWorker(components, init)
    try {
      await worker.#worker.waitUntilReady()
    } catch (error) {
      await worker.#worker.close(true).catch(() => undefined)
      throw error
    }
    worker.#worker.run().catch((error: unknown) => worker.#tell(error))
    return worker
  }

  setConcurrency(concurrency: number): void {
    this.#worker.concurrency = concurrency
  }

  async stop(drainMs: number): Promise<void> {
    if (drainMs < 0) return this.#worker.close(true)
    const timer = setTimeout(() => this.#giveBack.abort(), drainMs)
    await this.#worker.close()
    clearTimeout(timer)
  }

  async #process(job: BullQueueJob, token: string, lost?: AbortSignal): Promise<JobResult> {
    const { signal: givenBack } = this.#giveBack
    const signal = lost ? AbortSignal.any([lost, givenBack]) : givenBack
    try {
      return await this.#handler(this.#activeJob(job, signal))
    } catch (error) {
      if (givenBack.aborted) {
        await job.moveToWait(token)
        throw new WaitingError()
      }
      if (error instanceof JobPostponedError) {
        await job.moveToDelayed(Date.now() + error.delayMs, token)
        throw new DelayedError()
      }
      if (error instanceof JobFinalError) throw new UnrecoverableError(error.message)
      throw error
    }
  }

  /** The same again is not told again: a server that is away fails every look into the queue. */
  #tell(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error)
    if (reason === this.#lastProblem) return
    this.#lastProblem = reason
    this.#log.warn({ reason }, 'worker of the queue has a problem')
  }

  #activeJob(job: BullQueueJob, signal: AbortSignal): ActiveJob {
    const { id = '', data, attemptsMade } = job
    const fresh = async (): Promise<BullQueueJob | undefined> =>
      BullJob.fromId<JobData, JobResult>(this.#worker as unknown as MinimalQueue, id)
    return {
      id,
      topic: this.topic,
      data,
      attempt: attemptsMade + 1,
      scheduled: job.repeatJobKey !== undefined,
      isLastAttempt: attemptsMade + 1 >= (job.opts.attempts ?? 1),
      signal,
      reportProgress: (progress) => job.updateProgress({ ...progress }),
      // Read again before it is written: a wish to cancel may have come in between.
      update: async (patch) => job.updateData({ ...((await fresh())?.data ?? data), ...patch }),
      isCancelled: async () => (await fresh())?.data.cancelled ?? true,
      children: async () => byJobId(await job.getChildrenValues<JobResult>()),
    }
  }
}

/** BullMQ names children by queue and id. */
function byJobId(values: Record<string, JobResult>): Record<string, JobResult> {
  const entries = Object.entries(values)
  return Object.fromEntries(
    entries.map(([key, value]) => [key.slice(key.lastIndexOf(':') + 1), value]),
  )
}
