import type { Logger } from '../shared/log/log.ts'
import type { JobHandler, JobQueue, JobWorker } from '../shared/queue/job-queue.ts'
import { CALLBACKS_TOPIC, CALLS_TOPIC } from '../shared/queue/names.ts'
import { CALLBACK_CONCURRENCY, WORKERS_MAX } from './constants.ts'
import type { Subscriptions } from './subscriptions.ts'

export interface WorkersComponents {
  queue: Pick<JobQueue, 'work'>
  handlerOf: (topic: string) => JobHandler
  log: Logger
}

export interface WorkersInit {
  concurrency: number
  lockMs: number
  drainMs: number
}

/** One worker for each topic that somebody subscribes to, for calls and for callbacks. */
export class Workers {
  readonly #components: WorkersComponents
  readonly #init: WorkersInit
  readonly #workers = new Map<string, JobWorker>()
  #stopped = false

  constructor(components: WorkersComponents, init: WorkersInit) {
    this.#components = components
    this.#init = init
  }

  topics(): readonly string[] {
    return [...this.#workers.keys()]
  }

  /** Starts and stops workers until they are the ones wanted. @throws when the queue is away */
  async reconcile({ topics }: Subscriptions): Promise<void> {
    const wanted = new Map<string, number>([
      [CALLS_TOPIC, this.#init.concurrency],
      [CALLBACKS_TOPIC, CALLBACK_CONCURRENCY],
      ...[...topics].map(([topic, { concurrency }]) => [topic, concurrency] as const),
    ])
    for (const [topic, worker] of this.#workers) {
      if (!wanted.has(topic)) await this.#end(topic, worker)
    }
    for (const [topic, concurrency] of wanted) {
      const known = this.#workers.get(topic)
      if (known) known.setConcurrency(concurrency)
      else if (this.#workers.size < WORKERS_MAX) await this.#begin(topic, concurrency)
      else this.#components.log.error({ topic, max: WORKERS_MAX }, 'too many topics')
    }
  }

  /** Takes no further job; those in hand have the drain time-out, then they are given back. */
  async stop(): Promise<void> {
    this.#stopped = true
    const workers = [...this.#workers]
    await Promise.all(workers.map(([topic, worker]) => this.#end(topic, worker)))
  }

  async #begin(topic: string, concurrency: number): Promise<void> {
    const { queue, handlerOf, log } = this.#components
    if (this.#stopped) return
    const { lockMs, drainMs } = this.#init
    const worker = await queue.work(topic, handlerOf(topic), { concurrency, lockMs })
    if (this.#stopped) return worker.stop(drainMs)
    this.#workers.set(topic, worker)
    log.info({ topic, concurrency }, 'topic worked on')
  }

  async #end(topic: string, worker: JobWorker): Promise<void> {
    this.#workers.delete(topic)
    await worker.stop(this.#init.drainMs)
    this.#components.log.info({ topic }, 'topic left')
  }
}
