import { ANNOTATIONS, scheduleOf, topicsOf } from '../shared/queue/annotations.ts'
import type { JobSchedule } from '../shared/queue/job-queue.ts'
import type { DeployedFunction } from './gateway-client.ts'

export interface TopicSubscription {
  functions: readonly string[]
  concurrency: number
}

/** Who wants what, as the annotations of the functions say. */
export interface Subscriptions {
  topics: ReadonlyMap<string, TopicSubscription>
  schedules: readonly JobSchedule[]
  /** Functions whose scheduled calls carry the token of the connector. */
  authorized: ReadonlySet<string>
}

export const NO_SUBSCRIPTIONS: Subscriptions = {
  topics: new Map(),
  schedules: [],
  authorized: new Set(),
}

/** `wanted`: topics this connector works on; `*` among them stands for all. */
export function readSubscriptions(
  functions: readonly DeployedFunction[],
  { wanted, concurrency }: { wanted: readonly string[]; concurrency: number },
): Subscriptions {
  const topics = new Map<string, { functions: string[]; concurrency: number }>()
  for (const { name, annotations } of functions) {
    for (const topic of topicsOf(annotations)) {
      if (!wanted.includes('*') && !wanted.includes(topic)) continue
      const known = topics.get(topic) ?? { functions: [], concurrency }
      known.functions.push(name)
      // The most careful of them decides: each job goes to all.
      known.concurrency = Math.min(known.concurrency, concurrencyOf(annotations) ?? Infinity)
      topics.set(topic, known)
    }
  }
  const scheduled = functions.flatMap(({ name, annotations }) => {
    const pattern = scheduleOf(annotations)
    return pattern === null ? [] : [{ function: name, pattern }]
  })
  const authorized = functions.filter(
    ({ annotations }) => annotations[ANNOTATIONS.authorize] === 'connector',
  )
  return {
    topics,
    schedules: scheduled,
    authorized: new Set(authorized.map(({ name }) => name)),
  }
}

function concurrencyOf(annotations: Readonly<Record<string, string>>): number | null {
  const given = Number(annotations[ANNOTATIONS.concurrency])
  return Number.isInteger(given) && given >= 1 ? given : null
}
