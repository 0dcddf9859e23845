import { createHash } from 'node:crypto'

import { BodyTooLargeError, InvalidRequestError } from '../errors.ts'
import {
  ATTEMPTS_DEFAULT,
  ATTEMPTS_MAX,
  DELAY_MS_MAX,
  JOB_BODY_BYTES_MAX,
  JOB_HEADERS_BYTES_MAX,
  KEEP_COMPLETED_SECONDS,
  KEEP_FAILED_SECONDS,
  PRIORITY_MAX,
} from './constants.ts'
import { BACKOFF_TYPE } from './backoff.ts'
import type { JobCall, JobData, NewJob } from './job.ts'
import { jobId } from './names.ts'

/** What BullMQ is told of a job beside its data. */
export interface JobOptions {
  jobId: string
  attempts: number
  priority: number
  delay: number
  backoff: { type: string }
}

/** Of a call: path and body, whatever the headers say. */
export function fingerprintOf({ function: name, path, body }: JobCall): string {
  return createHash('sha256')
    .update(JSON.stringify([name, path, body]))
    .digest('hex')
}

/** @throws InvalidRequestError, BodyTooLargeError */
export function newJob(job: NewJob, hasChildren = false): { data: JobData; options: JobOptions } {
  const { topic, call, key, owner, callbackUrl } = job
  const { priority = 0, delayMs = 0, attempts = ATTEMPTS_DEFAULT } = job
  within('priority', priority, 0, PRIORITY_MAX)
  within('delay', delayMs, 0, DELAY_MS_MAX)
  within('attempts', attempts, 1, ATTEMPTS_MAX)
  if (Buffer.byteLength(call.body, 'base64') > JOB_BODY_BYTES_MAX) {
    throw new BodyTooLargeError(
      `The body of a job is larger than ${JOB_BODY_BYTES_MAX} bytes: put it into a blob.`,
    )
  }
  if (JSON.stringify(call.headers).length > JOB_HEADERS_BYTES_MAX) {
    throw new InvalidRequestError(
      `The headers of a job are longer than ${JOB_HEADERS_BYTES_MAX} bytes.`,
    )
  }
  const name = key === undefined ? undefined : JSON.stringify([owner, topic, call.function, key])
  const id = jobId(topic, name)
  return {
    data: {
      ...call,
      idempotencyKey: key ?? id,
      fingerprint: fingerprintOf(call),
      callbackUrl: callbackUrl ?? null,
      owner: owner ?? null,
      answered: [],
      cancelled: false,
      hasChildren,
    },
    options: { jobId: id, attempts, priority, delay: delayMs, backoff: { type: BACKOFF_TYPE } },
  }
}

function within(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return
  throw new InvalidRequestError(`The ${name} of a job is a whole number from ${min} to ${max}.`)
}

/**
 * How long finished jobs stay; workers remove older ones as they go. How many is not told to them:
 * on Postgres they would read all that are kept for each job that ends. See `trim`.
 */
export const RETENTION = {
  removeOnComplete: { age: KEEP_COMPLETED_SECONDS },
  removeOnFail: { age: KEEP_FAILED_SECONDS },
} as const
