import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

import { startProgress, wantsProgress } from '../../shared/function/progress.ts'
import { NODE_TASKS, type NodeTask, type NodeTasks, type TaskOutcome } from './node-tasks.ts'

export interface MaintenanceRoutesOptions {
  nodes: Pick<NodeTasks, 'run'>
  /** How many rows went; null where there is no database. */
  removeExpiredTokens: () => Promise<number | null>
}

/** In this order: what keeps things findable, then what makes room, then what costs most. */
const ALL = ['tokens', ...NODE_TASKS] as const

type Task = 'tokens' | NodeTask

/**
 * `POST /` does everything, `POST /tokens|provide|gc|scrub` one thing. Each may be done twice
 * without harm. When something failed the answer is 503, so that the job is tried again.
 */
export async function maintenanceRoutes(
  app: FastifyInstance,
  options: MaintenanceRoutesOptions,
): Promise<void> {
  const route = { config: { scope: 'node:manage' as const } }
  app.post('/', route, (request, reply) => answer(ALL, options, request, reply))
  for (const task of ALL) {
    app.post(`/${task}`, route, (request, reply) => answer([task], options, request, reply))
  }
}

async function answer(
  tasks: readonly Task[],
  options: MaintenanceRoutesOptions,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const progress = wantsProgress(request) ? startProgress(reply) : null
  const outcomes: TaskOutcome[] = []
  for (const [index, task] of tasks.entries()) {
    progress?.report((100 * index) / tasks.length, task)
    outcomes.push(...(await run(task, options, request)))
  }
  const failed = outcomes.filter(({ outcome }) => outcome === 'failed')
  for (const { task, endpoint, detail } of failed) {
    request.log.warn({ task, endpoint, reason: detail }, 'maintenance failed')
  }
  const status = failed.length > 0 ? 503 : 200
  const body = JSON.stringify({ tasks: outcomes })
  if (!progress) return reply.code(status).type('application/json').send(body)
  progress.finish({ status, contentType: 'application/json', body })
  return reply
}

async function run(
  task: Task,
  { nodes, removeExpiredTokens }: MaintenanceRoutesOptions,
  request: FastifyRequest,
): Promise<TaskOutcome[]> {
  if (task !== 'tokens') {
    // The caller's own token: the daemon decides what it may.
    return nodes.run(task, { token: request.token ?? '', signal: request.abandoned })
  }
  try {
    const removed = await removeExpiredTokens()
    const skipped = removed === null
    const detail = skipped ? 'There is no database.' : `${removed} rows removed.`
    return [{ task, endpoint: null, outcome: skipped ? 'skipped' : 'done', detail }]
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    return [{ task, endpoint: null, outcome: 'failed', detail }]
  }
}
