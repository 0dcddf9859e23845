import type { Job as BullJob, JobType } from 'bullmq'

import type { Job, JobData, JobProgress, JobResult, JobState } from './job.ts'
import { topicOf } from './names.ts'

export type BullQueueJob = BullJob<JobData, JobResult>

/** What BullMQ keeps apart and a caller need not tell apart. */
const STATES: Readonly<Record<string, JobState>> = {
  waiting: 'waiting',
  wait: 'waiting',
  paused: 'waiting',
  prioritized: 'waiting',
  'waiting-children': 'waiting',
  active: 'active',
  delayed: 'delayed',
  completed: 'completed',
  failed: 'failed',
}

/** BullMQ's lists that make up a state, in the order in which they are shown. */
export const LISTS = {
  active: ['active'],
  waiting: ['wait', 'prioritized', 'waiting-children'],
  delayed: ['delayed'],
  failed: ['failed'],
  completed: ['completed'],
} as const satisfies Record<JobState, readonly JobType[]>

/** Null when the job has gone meanwhile. */
export function stateOf(text: string): JobState | null {
  return STATES[text] ?? null
}

export function toJob(job: BullQueueJob, state: JobState): Job {
  const id = job.id ?? ''
  const at = (ms: number | undefined) => (ms === undefined || ms === 0 ? null : new Date(ms))
  return {
    id,
    topic: topicOf(id),
    state,
    data: job.data,
    progress: progressOf(job.progress),
    attempts: job.attemptsMade,
    attemptsMax: job.opts.attempts ?? 1,
    priority: job.priority,
    createdAt: new Date(job.timestamp),
    dueAt: state === 'delayed' ? at((job.processedOn ?? job.timestamp) + job.delay) : null,
    startedAt: at(job.processedOn),
    finishedAt: at(job.finishedOn),
    reason: (job.failedReason as string | undefined) ?? null,
    result: state === 'completed' ? job.returnvalue : null,
  }
}

function progressOf(progress: unknown): JobProgress | null {
  if (typeof progress !== 'object' || progress === null || !('percent' in progress)) return null
  return progress as JobProgress
}
