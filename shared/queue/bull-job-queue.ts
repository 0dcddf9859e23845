import {
  IdempotencyMismatchError,
  JobNotFoundError,
  JobStateError,
  OverloadedError,
} from '../errors.ts'
import type { Logger } from '../log/log.ts'
import type { Backend, BullFlowProducer, BullQueue } from './backend.ts'
import { LISTS, stateOf, toJob, type BullQueueJob } from './bull-job.ts'
import { BullJobWorker } from './bull-job-worker.ts'
import {
  ATTEMPTS_DEFAULT,
  CHILDREN_MAX,
  KEEP_COMPLETED_MAX,
  KEEP_FAILED_MAX,
  TRIM_MAX,
  WAITING_COUNT_TTL_MS,
  WAITING_MAX,
} from './constants.ts'
import { decodeCursor, encodeCursor, listPlaces } from './cursor.ts'
import { asUnavailable, guarded, isAway } from './guarded.ts'
import type { Job, JobState, NewJob } from './job.ts'
import type {
  CancelOutcome,
  FinishedMax,
  JobHandler,
  JobPage,
  JobQueue,
  JobSchedule,
  JobWorker,
  ListOptions,
  WorkOptions,
} from './job-queue.ts'
import { CALLS_TOPIC, topicOf } from './names.ts'
import { BACKOFF_TYPE } from './backoff.ts'
import { newJob } from './new-data.ts'
import { scheduleCall } from './schedule.ts'

export interface BullJobQueueComponents {
  backend: Backend
  log: Logger
}

/** The queue on BullMQ; where the jobs lie is the backend's matter. */
export class BullJobQueue implements JobQueue {
  readonly kind: string
  readonly #backend: Backend
  readonly #log: Logger
  readonly #queues = new Map<string, BullQueue>()
  readonly #waiting = new Map<string, { count: number; lookedMs: number }>()
  /** Schedules that are no cron: as many as functions were deployed with one. */
  readonly #refused = new Set<string>()
  #flows: BullFlowProducer | null = null

  constructor({ backend, log }: BullJobQueueComponents) {
    this.kind = backend.kind
    this.#backend = backend
    this.#log = log
  }

  async submit(job: NewJob): Promise<{ id: string }> {
    const { data, options } = newJob(job)
    return this.#guarded(async () => {
      const queue = await this.#queue(job.topic)
      await this.#admit(job.topic, queue)
      const { jobId: id } = options
      await queue.add(nameOf(job), data, options)
      if (job.key === undefined) return { id }
      // The job that was there before stays as it is; adding it again changed nothing.
      const kept = await queue.getJob(id)
      if (kept && kept.data.fingerprint !== data.fingerprint) {
        throw new IdempotencyMismatchError('The key was used before for another call.')
      }
      return { id }
    })
  }

  async submitFlow(
    parent: NewJob,
    children: readonly NewJob[],
  ): Promise<{ id: string; children: string[] }> {
    if (children.length > CHILDREN_MAX) {
      throw new OverloadedError(`A flow has at most ${CHILDREN_MAX} children.`, 1)
    }
    const node = (job: NewJob, hasChildren: boolean) => {
      const { data, options } = newJob(job, hasChildren)
      return { name: nameOf(job), queueName: job.topic, data, opts: options }
    }
    const root = node(parent, true)
    const leaves = children.map((child) => {
      const leaf = node(child, false)
      return { ...leaf, opts: { ...leaf.opts, failParentOnFailure: true } }
    })
    return this.#guarded(async () => {
      await this.#admit(parent.topic, await this.#queue(parent.topic))
      this.#flows ??= this.#quiet(this.#backend.createFlowProducer())
      await this.#flows.add({ ...root, children: leaves })
      return { id: root.opts.jobId, children: leaves.map(({ opts }) => opts.jobId) }
    })
  }

  async get(id: string): Promise<Job> {
    return this.#guarded(async () => {
      const job = await this.#find(id)
      const state = stateOf(await job.getState())
      if (!state) throw notFound(id)
      return toJob(job, state)
    })
  }

  async list({ topics, state, cursor, limit }: ListOptions): Promise<JobPage> {
    const places = listPlaces(topics, state)
    const start = decodeCursor(cursor, places.length)
    return this.#guarded(async () => {
      const jobs: Job[] = []
      let { place, offset } = start
      for (; place < places.length; place++, offset = 0) {
        const { topic, list, state: shown } = places[place]!
        const queue = await this.#queue(topic)
        const wanted = limit - jobs.length
        const found = await queue.getJobs([list], offset, offset + wanted)
        const kept = found.filter((job) => (job as BullQueueJob | undefined)?.id !== undefined)
        jobs.push(...kept.slice(0, wanted).map((job) => toJob(job, shown)))
        // One more than wanted was asked for, to know whether there is a next page.
        if (kept.length > wanted) {
          return { jobs, next: encodeCursor({ place, offset: offset + wanted }) }
        }
      }
      return { jobs, next: null }
    })
  }

  counts(topic: string): Promise<Record<JobState, number>> {
    return this.#guarded(async () => countsOf(await this.#queue(topic)))
  }

  async retry(id: string): Promise<Job> {
    return this.#guarded(async () => {
      const job = await this.#find(id)
      const state = await job.getState()
      if (state !== 'failed') {
        throw new JobStateError(`The job is ${stateOf(state) ?? 'gone'}; a failed one is retried.`)
      }
      // What succeeded is not done again.
      const answered = job.data.answered.filter(({ status }) => status < 300)
      await job.updateData({ ...job.data, answered, cancelled: false })
      await job.retry('failed', { resetAttemptsMade: true })
      return toJob(await this.#find(id), 'waiting')
    })
  }

  async cancel(id: string): Promise<CancelOutcome> {
    return this.#guarded(async () => {
      const job = await this.#find(id)
      if ((await job.getState()) !== 'active') {
        try {
          await job.remove()
          return 'removed'
        } catch (error) {
          // Taken by a worker in this moment, or the next run of a schedule, which comes again.
          if ((await job.getState()) !== 'active') throw stateError(error)
        }
      }
      await job.updateData({ ...job.data, cancelled: true })
      return 'cancelling'
    })
  }

  async syncSchedules(schedules: readonly JobSchedule[]): Promise<void> {
    await this.#guarded(async () => {
      const queue = await this.#queue(CALLS_TOPIC)
      const known = await queue.getJobSchedulers(0, -1)
      for (const { key } of known) {
        if (!schedules.some((one) => one.function === key)) await queue.removeJobScheduler(key)
      }
      for (const schedule of schedules) {
        const { function: name, pattern } = schedule
        if (known.some((one) => one.key === name && one.pattern === pattern)) continue
        await this.#setSchedule(queue, schedule)
      }
    })
  }

  /** One that nobody understands keeps no other from its time; it is said once. */
  async #setSchedule(queue: BullQueue, { function: name, pattern }: JobSchedule): Promise<void> {
    if (this.#refused.has(`${name} ${pattern}`)) return
    const opts = { attempts: ATTEMPTS_DEFAULT, backoff: { type: BACKOFF_TYPE } }
    const template = { name, data: scheduleCall(name), opts }
    try {
      await queue.upsertJobScheduler(name, { pattern, tz: 'UTC' }, template)
      this.#log.info({ function: name, pattern }, 'schedule set')
    } catch (error) {
      if (isAway(error)) throw error
      this.#refused.add(`${name} ${pattern}`)
      this.#log.error({ function: name, pattern, err: error }, 'schedule not understood')
    }
  }

  async trim(topic: string, keepMax: FinishedMax = KEEP_MAX): Promise<number> {
    return this.#guarded(async () => {
      const queue = await this.#queue(topic)
      const { completed, failed } = await countsOf(queue)
      const over = [
        ['completed', completed - keepMax.completed],
        ['failed', failed - keepMax.failed],
      ] as const
      let removed = 0
      for (const [state, excess] of over) {
        if (excess <= 0) continue
        removed += (await queue.clean(0, Math.min(excess, TRIM_MAX), state)).length
      }
      return removed
    })
  }

  async work(topic: string, handler: JobHandler, options: WorkOptions): Promise<JobWorker> {
    await this.#guarded(() => this.#backend.prepare())
    try {
      // However long it takes: a worker that nobody waits for any more would work all the same.
      const components = { backend: this.#backend, log: this.#log }
      return await BullJobWorker.start(components, { topic, handler, ...options })
    } catch (error) {
      throw asUnavailable(error, () => this.#forget())
    }
  }

  async isReady(): Promise<boolean> {
    return this.#guarded(async () => {
      await (await this.#queue(CALLS_TOPIC)).getJobCountByTypes('active')
      return true
    }).catch(() => false)
  }

  async close(): Promise<void> {
    const all = [...this.#queues.values(), ...(this.#flows ? [this.#flows] : [])]
    this.#queues.clear()
    this.#flows = null
    await Promise.allSettled(all.map((one) => one.close()))
    await this.#backend.close()
  }

  async #find(id: string): Promise<BullQueueJob> {
    const queue = await this.#queue(topicOf(id))
    const job = await queue.getJob(id)
    if (!job) throw notFound(id)
    return job
  }

  /** BullMQ remembers a first connection that failed for ever, so the server is asked before. */
  async #queue(topic: string): Promise<BullQueue> {
    const known = this.#queues.get(topic)
    if (known) return known
    await this.#backend.prepare()
    const queue = this.#queues.get(topic) ?? this.#quiet(this.#backend.createQueue(topic, {}))
    this.#queues.set(topic, queue)
    return queue
  }

  /** Errors of the connection reach whoever asked; as events they would end the process. */
  #quiet<T extends { on(event: 'error', listener: (error: Error) => void): unknown }>(one: T): T {
    one.on('error', (error) => this.#log.debug({ reason: error.message }, 'queue error'))
    return one
  }

  async #admit(topic: string, queue: BullQueue): Promise<void> {
    let seen = this.#waiting.get(topic)
    if (!seen || performance.now() - seen.lookedMs > WAITING_COUNT_TTL_MS) {
      const { waiting, delayed } = await countsOf(queue)
      seen = { count: waiting + delayed, lookedMs: performance.now() }
      this.#waiting.set(topic, seen)
    }
    seen.count++
    if (seen.count <= WAITING_MAX) return
    throw new OverloadedError(`More than ${WAITING_MAX} jobs of ${topic} are waiting.`, 30)
  }

  /** After a failure of the server the objects are made anew with the next use. */
  #guarded<T>(operation: () => Promise<T>): Promise<T> {
    return guarded(operation, () => this.#forget())
  }

  #forget(): void {
    const stale = [...this.#queues.values(), ...(this.#flows ? [this.#flows] : [])]
    this.#queues.clear()
    this.#flows = null
    for (const one of stale) one.close().catch(() => undefined)
  }
}

const KEEP_MAX: FinishedMax = { completed: KEEP_COMPLETED_MAX, failed: KEEP_FAILED_MAX }

/** Shown by tools of BullMQ; decides nothing. */
function nameOf({ call, topic }: NewJob): string {
  return call.function ?? topic
}

async function countsOf(queue: BullQueue): Promise<Record<JobState, number>> {
  const counts: Record<string, number> = await queue.getJobCounts(...Object.values(LISTS).flat())
  const sum = (lists: readonly string[]) =>
    lists.reduce((total, list) => total + (counts[list] ?? 0), 0)
  return {
    waiting: sum(LISTS.waiting),
    active: sum(LISTS.active),
    delayed: sum(LISTS.delayed),
    completed: sum(LISTS.completed),
    failed: sum(LISTS.failed),
  }
}

function notFound(id: string): JobNotFoundError {
  return new JobNotFoundError(`There is no job ${id.slice(0, 128)}.`)
}

function stateError(error: unknown): unknown {
  const message = error instanceof Error ? error.message : ''
  if (!/scheduler|lock|children/.test(message)) return error
  return new JobStateError('The job belongs to a schedule or to a flow and cannot be removed now.')
}
