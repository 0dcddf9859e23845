/** What a caller of the queue may see a job in. */
export const JOB_STATES = ['waiting', 'active', 'delayed', 'completed', 'failed'] as const
export type JobState = (typeof JOB_STATES)[number]

/** An HTTP call to be made later, as it lies in the queue. */
export interface JobCall {
  /** The one function that is called; null calls every function subscribed to the topic. */
  function: string | null
  /** What the function sees: path and query. */
  path: string
  headers: Readonly<Record<string, string>>
  /** Base64. */
  body: string
}

/** Everything the queue keeps of a job beside what BullMQ counts itself. */
export interface JobData extends JobCall {
  /** Given to the function with every attempt, so that it can tell a repetition. */
  idempotencyKey: string
  /** Of path and body: the same key with another call is a mistake of the caller. */
  fingerprint: string
  callbackUrl: string | null
  /** Who submitted it, where that is known; decides who may look at it. */
  owner: string | null
  /** Answers so far, good or bad, of functions that the next attempt need not call. */
  answered: readonly FunctionAnswer[]
  /** Somebody wants it to end although it runs. */
  cancelled: boolean
  /** True for the parent of a flow: it is given the answers of its children. */
  hasChildren: boolean
}

/** What one function answered. */
export interface FunctionAnswer {
  function: string
  status: number
  contentType: string
  sizeBytes: number
  /** Base64; null when the body was too large for the queue. */
  body: string | null
  /** Where a body went that was too large for the queue; null when it could not be kept. */
  blob: string | null
  seconds: number
}

export interface JobResult {
  answers: readonly FunctionAnswer[]
}

/** 0 to 100, and what the function said about it. */
export interface JobProgress {
  percent: number
  message?: string
}

/** A job as the queue tells of it. */
export interface Job {
  id: string
  topic: string
  state: JobState
  data: JobData
  progress: JobProgress | null
  attempts: number
  attemptsMax: number
  priority: number
  createdAt: Date
  /** When a delayed job is due. */
  dueAt: Date | null
  startedAt: Date | null
  finishedAt: Date | null
  /** Why it failed, or why its last attempt did. */
  reason: string | null
  result: JobResult | null
}

/** What is submitted. */
export interface NewJob {
  topic: string
  call: JobCall
  /** Recognises a repetition by the same owner; without one every submission is a job. */
  key?: string
  owner?: string
  callbackUrl?: string
  /** 0 goes first; 1 to PRIORITY_MAX wait for those before them, the lower number first. */
  priority?: number
  delayMs?: number
  attempts?: number
}
