import { isTopic } from './names.ts'

/** What OpenFaaS's cron-connector wants beside `schedule`; it is no topic of a queue. */
const CRON_TOPIC = 'cron-function'

/** The annotations of a function that concern jobs. */
export const ANNOTATIONS = {
  topic: 'topic',
  schedule: 'schedule',
  concurrency: 'bzzz.job.concurrency',
  /** `connector`: scheduled calls carry the token of the connector. */
  authorize: 'bzzz.job.authorize',
} as const

type Annotations = Readonly<Record<string, string>>

/** Topics that a function subscribes to; what is no topic is left out. */
export function topicsOf(annotations: Annotations): string[] {
  const names = (annotations[ANNOTATIONS.topic] ?? '').split(',').map((name) => name.trim())
  return names.filter((name) => name !== CRON_TOPIC && isTopic(name))
}

export function scheduleOf(annotations: Annotations): string | null {
  return annotations[ANNOTATIONS.schedule]?.trim() || null
}
