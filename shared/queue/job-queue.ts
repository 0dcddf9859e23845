import type { Job, JobData, JobProgress, JobResult, JobState, NewJob } from './job.ts'

export interface JobPage {
  jobs: readonly Job[]
  /** Where the next page begins, or null. */
  next: string | null
}

export interface ListOptions {
  /** Topics in which to look, in this order. */
  topics: readonly string[]
  state?: JobState
  cursor?: string
  limit: number
}

/** A job in the hands of a worker. */
export interface ActiveJob {
  id: string
  topic: string
  data: JobData
  /** The attempt this is, from 1. */
  attempt: number
  isLastAttempt: boolean
  /** It comes from a schedule; nobody outside can make this true. */
  scheduled: boolean
  /** Aborts when the worker lost the job, is told to stop and out of patience. */
  signal: AbortSignal
  reportProgress(progress: JobProgress): Promise<void>
  /** Keeps what the next attempt is to know. */
  update(patch: Partial<JobData>): Promise<void>
  /** Looks at the queue whether somebody wants the job to end. */
  isCancelled(): Promise<boolean>
  /** Results of the children of a flow, by job id. */
  children(): Promise<Readonly<Record<string, JobResult>>>
}

/** @throws JobRetryError, JobFinalError, JobPostponedError; anything else is retried. */
export type JobHandler = (job: ActiveJob) => Promise<JobResult>

export interface WorkOptions {
  concurrency: number
  /** How long a job stays with a worker that no longer speaks. */
  lockMs?: number
}

/** Takes jobs of one topic until it is stopped. */
export interface JobWorker {
  readonly topic: string
  setConcurrency(concurrency: number): void
  /**
   * Takes no further job; those in hand may end within the time, then they are given back. With a
   * negative time they are left as they are, as if this process had been killed.
   */
  stop(drainMs: number): Promise<void>
}

/** A job that comes again and again. */
export interface JobSchedule {
  /** The function, which is also the name of its schedule. */
  function: string
  /** Five or six fields of cron, in UTC. */
  pattern: string
}

/** How many of them are kept of one topic. */
export interface FinishedMax {
  completed: number
  failed: number
}

export type CancelOutcome = 'removed' | 'cancelling'

/**
 * Jobs by topic. A submitted job is kept once `submit` has resolved, and run at least once. Every
 * method throws QueueUnavailableError while the server of the queue is away, and works again
 * without further ado when it is back.
 */
export interface JobQueue {
  /** Told to people: `redis` or `postgres`. */
  readonly kind: string
  /** @throws OverloadedError, IdempotencyMismatchError */
  submit(job: NewJob): Promise<{ id: string }>
  /** The parent runs when all children have completed; it fails when one of them does. */
  submitFlow(
    parent: NewJob,
    children: readonly NewJob[],
  ): Promise<{ id: string; children: string[] }>
  /** @throws JobNotFoundError */
  get(id: string): Promise<Job>
  list(options: ListOptions): Promise<JobPage>
  counts(topic: string): Promise<Record<JobState, number>>
  /** Runs a failed job again, with all its attempts. @throws JobNotFoundError, JobStateError */
  retry(id: string): Promise<Job>
  /** Removes a job; one that runs is told to end. @throws JobNotFoundError */
  cancel(id: string): Promise<CancelOutcome>
  /** Makes the schedules be these and no others. */
  syncSchedules(schedules: readonly JobSchedule[]): Promise<void>
  /** Removes the oldest of the finished jobs that are more than may be kept. @returns how many */
  trim(topic: string, keepMax?: FinishedMax): Promise<number>
  work(topic: string, handler: JobHandler, options: WorkOptions): Promise<JobWorker>
  isReady(): Promise<boolean>
  close(): Promise<void>
}
