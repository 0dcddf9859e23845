import type { JobType } from 'bullmq'

import { InvalidRequestError } from '../errors.ts'
import { LISTS } from './bull-job.ts'
import { JOB_STATES, type JobState } from './job.ts'

/** One list of one queue. */
export interface ListPlace {
  topic: string
  state: JobState
  list: JobType
}

/** Where in the lists a page begins. */
export interface Cursor {
  place: number
  offset: number
}

/** What is happening comes first: active, waiting, delayed, failed, completed. */
const ORDER = Object.keys(LISTS) as JobState[]

/** The lists that are gone through one after the other. */
export function listPlaces(topics: readonly string[], state?: JobState): ListPlace[] {
  const states = state === undefined ? ORDER : JOB_STATES.filter((one) => one === state)
  return states.flatMap((one) =>
    topics.flatMap((topic) => LISTS[one].map((list) => ({ topic, state: one, list }))),
  )
}

export function encodeCursor({ place, offset }: Cursor): string {
  return `${place}.${offset}`
}

/** @throws InvalidRequestError for a text that `encodeCursor` did not write */
export function decodeCursor(text: string | undefined, places: number): Cursor {
  if (text === undefined) return { place: 0, offset: 0 }
  const match = /^(\d{1,6})\.(\d{1,9})$/.exec(text)
  const place = Number(match?.[1])
  if (!match || place >= places)
    throw new InvalidRequestError('The cursor is not one of this list.')
  return { place, offset: Number(match[2]) }
}
