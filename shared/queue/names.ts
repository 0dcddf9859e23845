import { createHash, randomUUID } from 'node:crypto'

import { InvalidRequestError } from '../errors.ts'
import { TOPIC_CHARS_MAX } from './constants.ts'

/** The queue of calls that name their function: `/async-function/NAME` and schedules. */
export const CALLS_TOPIC = 'calls'

/** The queue of answers that are on their way to an `X-Callback-Url`. */
export const CALLBACKS_TOPIC = 'callbacks'

const TOPIC = /^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/

/** Separates the topic from the rest of an id; no topic contains it. */
const SEPARATOR = '~'

/** Whether functions may subscribe to a topic of this name. */
export function isTopic(text: string): boolean {
  const reserved = text === CALLS_TOPIC || text === CALLBACKS_TOPIC
  return TOPIC.test(text) && text.length <= TOPIC_CHARS_MAX && !reserved
}

/** @throws InvalidRequestError */
export function requireTopic(text: string): string {
  if (isTopic(text)) return text
  throw new InvalidRequestError(
    `A topic is a label of up to ${TOPIC_CHARS_MAX} of a-z 0-9 . _ -, and not ${CALLS_TOPIC} or ${CALLBACKS_TOPIC}.`,
  )
}

/**
 * The id of a new job, which is also its call id. It tells the queue, so that a job is found by
 * its id alone. With `name` the same name gives the same id.
 */
export function jobId(topic: string, name?: string): string {
  const id = name === undefined ? randomUUID() : uuidOf(name)
  return topic === CALLS_TOPIC ? id : topic + SEPARATOR + id
}

/** The id under which the callback of a job is delivered: one for each job. */
export function callbackId(id: string): string {
  return CALLBACKS_TOPIC + SEPARATOR + id
}

export function topicOf(id: string): string {
  const end = id.indexOf(SEPARATOR)
  return end === -1 ? CALLS_TOPIC : id.slice(0, end)
}

/** 128 bits of a hash in the form of a UUID. */
function uuidOf(name: string): string {
  const hex = createHash('sha256').update(name).digest('hex')
  return [
    [0, 8],
    [8, 12],
    [12, 16],
    [16, 20],
    [20, 32],
  ]
    .map(([a, b]) => hex.slice(a, b))
    .join('-')
}
