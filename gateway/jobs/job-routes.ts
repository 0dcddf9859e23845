import type { FastifyInstance } from 'fastify'
import { z } from 'zod'

import { parseWith } from '../../shared/http/parse.ts'
import { PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX } from '../../shared/limits.ts'
import { topicsOf } from '../../shared/queue/annotations.ts'
import { JOB_STATES } from '../../shared/queue/job.ts'
import { toJobJSON } from '../../shared/queue/job-json.ts'
import { CALLBACKS_TOPIC, CALLS_TOPIC, requireTopic } from '../../shared/queue/names.ts'
import type { FunctionProvider } from '../providers/provider.ts'
import type { GatewayJobs } from './gateway-jobs.ts'

export interface JobRoutesOptions {
  provider: Pick<FunctionProvider, 'list'>
  jobs: Pick<GatewayJobs, 'queue'>
}

/** A job carries what its caller sent and what the function answered, of all projects. */
const ADMIN = { config: { scope: 'admin:*' as const } }

const listSchema = z.object({
  state: z.enum(JOB_STATES).optional(),
  topic: z.string().optional(),
  cursor: z.string().optional(),
  limit: z.coerce.number().int().min(1).max(PAGE_SIZE_MAX).default(PAGE_SIZE_DEFAULT),
})

/** `/system/jobs`: what became of asynchronous calls. */
export async function jobRoutes(
  app: FastifyInstance,
  { provider, jobs }: JobRoutesOptions,
): Promise<void> {
  app.get('/system/jobs', ADMIN, async (request) => {
    const { state, topic, cursor, limit } = parseWith(listSchema, request.query)
    const topics = topic === undefined ? allTopics(provider) : [knownTopic(topic)]
    const page = await jobs.queue().list({
      topics,
      limit,
      ...(state && { state }),
      ...(cursor && { cursor }),
    })
    return { jobs: page.jobs.map((job) => toJobJSON(job, { bodies: false })), next: page.next }
  })

  app.get<{ Params: { id: string } }>('/system/jobs/:id', ADMIN, async ({ params }) =>
    toJobJSON(await jobs.queue().get(params.id), { bodies: true }),
  )

  app.post<{ Params: { id: string } }>(
    '/system/jobs/:id/retry',
    ADMIN,
    async ({ params }, reply) => {
      reply.code(202)
      return toJobJSON(await jobs.queue().retry(params.id), { bodies: false })
    },
  )

  app.delete<{ Params: { id: string } }>('/system/jobs/:id', ADMIN, async ({ params }, reply) => {
    const outcome = await jobs.queue().cancel(params.id)
    // One that runs ends when its connector has noticed.
    reply.code(outcome === 'removed' ? 200 : 202)
    return { id: params.id, outcome }
  })
}

/** Calls, topics that a function subscribes to, and callbacks; others are asked for by name. */
function allTopics(provider: Pick<FunctionProvider, 'list'>): string[] {
  const subscribed = provider.list().flatMap((one) => topicsOf(one.details().annotations))
  return [CALLS_TOPIC, ...new Set(subscribed.toSorted()), CALLBACKS_TOPIC]
}

function knownTopic(text: string): string {
  return text === CALLS_TOPIC || text === CALLBACKS_TOPIC ? text : requireTopic(text)
}
