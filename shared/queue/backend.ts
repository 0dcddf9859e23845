import type {
  FlowProducer,
  IQueueBackend,
  Processor,
  Queue,
  QueueOptions,
  Worker,
  WorkerOptions,
} from 'bullmq'

import type { JobData, JobResult } from './job.ts'

export type BullQueue = Queue<JobData, JobResult, string, JobData, JobResult, string, IQueueBackend>
export type BullWorker = Worker<JobData, JobResult, string, IQueueBackend>
export type BullFlowProducer = FlowProducer<IQueueBackend>
export type BullProcessor = Processor<JobData, JobResult>

/** What differs between the servers a queue can lie on. */
export interface Backend {
  readonly kind: 'redis' | 'postgres'
  /** Resolves when the server answers and has what BullMQ needs. Asked before each object. */
  prepare(): Promise<void>
  createQueue(name: string, options: Omit<QueueOptions, 'connection'>): BullQueue
  createFlowProducer(): BullFlowProducer
  createWorker(
    name: string,
    process: BullProcessor,
    options: Omit<WorkerOptions, 'connection'>,
  ): BullWorker
  close(): Promise<void>
}
