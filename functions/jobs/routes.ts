import type { FastifyInstance, FastifyRequest } from 'fastify'

import { QueueUnavailableError, TokenMissingError } from '../../shared/errors.ts'
import { JOB_BODY_BYTES_MAX } from '../../shared/queue/constants.ts'
import { toJobJSON } from '../../shared/queue/job-json.ts'
import type { JobQueue } from '../../shared/queue/job-queue.ts'
import { getOwnJob } from '../../shared/queue/ownership.ts'
import { readSubmission } from '../../shared/queue/submission.ts'

export interface JobRoutesOptions {
  queue: JobQueue | null
  callbackHosts: readonly string[]
}

/** Base64 and JSON around the largest body of a job, and as much for the children of a flow. */
const SUBMISSION_BYTES_MAX = 4 * JOB_BODY_BYTES_MAX

/** `POST /`, `GET DELETE /:id`. A job is its owner's: nobody else but administrators sees it. */
export async function jobRoutes(
  app: FastifyInstance,
  { queue, callbackHosts }: JobRoutesOptions,
): Promise<void> {
  const read = { config: { scope: 'job:read' as const } }
  const write = { config: { scope: 'job:write' as const } }

  app.post('/', { ...write, bodyLimit: SUBMISSION_BYTES_MAX }, async (request, reply) => {
    const submitter = {
      owner: request.claims?.subject ?? '',
      authorization: `Bearer ${request.token ?? ''}`,
    }
    const { job, children } = readSubmission(request.body, { submitter, callbackHosts })
    reply.code(202)
    return children ? required(queue).submitFlow(job, children) : required(queue).submit(job)
  })

  app.get<{ Params: { id: string } }>('/:id', read, async (request) => {
    const job = await getOwnJob(required(queue), request.params.id, claimsOf(request))
    return toJobJSON(job, { bodies: true })
  })

  app.delete<{ Params: { id: string } }>('/:id', write, async (request, reply) => {
    const { id } = await getOwnJob(required(queue), request.params.id, claimsOf(request))
    const outcome = await required(queue).cancel(id)
    reply.code(outcome === 'removed' ? 200 : 202)
    return { id, outcome }
  })
}

function required(queue: JobQueue | null): JobQueue {
  if (queue) return queue
  throw new QueueUnavailableError('This function has no queue: REDIS_URL and DATABASE_URL say.')
}

function claimsOf({ claims }: FastifyRequest) {
  if (claims) return claims
  throw new TokenMissingError('The request carries no token.')
}
