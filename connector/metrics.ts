import {
  Counter,
  DURATION_BUCKETS_SECONDS,
  Gauge,
  Histogram,
  type Registry,
} from '../shared/metrics/metrics.ts'
import { JobFinalError, JobPostponedError } from '../shared/queue/failures.ts'
import type { JobHandler, JobQueue } from '../shared/queue/job-queue.ts'

export interface ConnectorMetricsComponents {
  registry: Registry
  queue: Pick<JobQueue, 'counts'>
  /** Those that are worked on. */
  topics: () => readonly string[]
}

/** How many jobs there are and how they end. */
export class ConnectorMetrics {
  readonly #duration: Histogram<'queue' | 'result'>
  readonly #postponed: Counter<'queue'>

  constructor({ registry, queue, topics }: ConnectorMetricsComponents) {
    const registers = [registry]
    this.#duration = new Histogram({
      name: 'bzzz_job_duration_seconds',
      help: 'Time of one attempt, by how it ended: completed, retried, failed',
      labelNames: ['queue', 'result'],
      buckets: DURATION_BUCKETS_SECONDS,
      registers,
    })
    this.#postponed = new Counter({
      name: 'bzzz_jobs_postponed_total',
      help: 'Jobs put off without an attempt, because the gateway or every function was away',
      labelNames: ['queue'],
      registers,
    })
    const jobs: Gauge<'queue' | 'state'> = new Gauge({
      name: 'bzzz_queue_jobs',
      help: 'Jobs in each queue by state; absent while the queue is away',
      labelNames: ['queue', 'state'],
      registers,
      collect: async () => {
        jobs.reset()
        await Promise.all(
          topics().map(async (topic) => {
            const counts = await queue.counts(topic).catch(() => null)
            for (const [state, count] of Object.entries(counts ?? {})) {
              jobs.set({ queue: topic, state }, count)
            }
          }),
        )
      },
    })
  }

  /** The same handler, measured. */
  measure(topic: string, handler: JobHandler): JobHandler {
    return async (job) => {
      const startedAt = performance.now()
      const end = (result: string) =>
        this.#duration.observe({ queue: topic, result }, (performance.now() - startedAt) / 1000)
      try {
        const result = await handler(job)
        end('completed')
        return result
      } catch (error) {
        if (error instanceof JobPostponedError) this.#postponed.inc({ queue: topic })
        else end(error instanceof JobFinalError || job.isLastAttempt ? 'failed' : 'retried')
        throw error
      }
    }
  }
}
