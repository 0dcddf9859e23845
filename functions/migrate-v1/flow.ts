import type { JobQueue } from '../../shared/queue/job-queue.ts'
import type { NewJob } from '../../shared/queue/job.ts'
import {
  FLOW_CHUNKS_MAX,
  FLOW_THREAD_STEPS_MAX,
  STEP_THREADS_MAX,
  STEPS_TOPIC,
} from './constants.ts'
import type { ChunkName, ImportStore } from './import-store.ts'
import type { ThreadStore } from './thread-store.ts'

export interface FlowComponents {
  queue: JobQueue
  imports: Pick<ImportStore, 'pendingChunks' | 'nextFlow' | 'setJob' | 'get'>
  conversations: Pick<ThreadStore, 'pending'>
}

/** Whose import it is: steps run with the rights of who asked for it. */
export interface Submitter {
  owner: string
  token: string
}

interface Step {
  path: string
  key: string
  body: object
}

/**
 * What an import has to do next, as a flow: the children are steps, the parent asks for the next
 * flow when all of them are done. What there is to do is read from Postgres each time, so a flow
 * that was lost, or submitted twice, costs time and nothing else.
 */
export class Flow {
  readonly #components: FlowComponents

  constructor(components: FlowComponents) {
    this.#components = components
  }

  /** False: nothing is left but the report. */
  async submitNext(id: string, submitter: Submitter): Promise<boolean> {
    const { queue, imports } = this.#components
    const steps = await this.#nextSteps(id)
    if (steps.length === 0) return false
    const flow = await imports.nextFlow(id)
    const parent = toJob({ path: '/steps/next', key: '', body: { import: id } }, submitter)
    const children = steps.map((step) => ({
      ...toJob(step, submitter),
      key: `mig:${step.key}:${id}:${flow}`,
    }))
    const { id: job } = await queue.submitFlow(parent, children)
    await imports.setJob(id, job)
    return true
  }

  async #nextSteps(id: string): Promise<Step[]> {
    const { imports, conversations } = this.#components
    const chunks = await imports.pendingChunks(id, 'done_at', FLOW_CHUNKS_MAX)
    if (chunks.length > 0) return chunks.map((chunk) => chunkStep('/steps/chunk', id, chunk))
    const [keys, unverified] = await Promise.all([
      conversations.pending(id, STEP_THREADS_MAX * FLOW_THREAD_STEPS_MAX),
      imports.pendingChunks(id, 'verified_at', FLOW_CHUNKS_MAX),
    ])
    const verify = unverified.map((chunk) => chunkStep('/steps/verify', id, chunk))
    return alternated(threadSteps(id, keys), verify)
  }
}

function threadSteps(id: string, keys: readonly string[]): Step[] {
  return Array.from({ length: Math.ceil(keys.length / STEP_THREADS_MAX) }, (_, step) => ({
    path: '/steps/threads',
    key: `threads:${step}`,
    body: {
      import: id,
      threads: keys.slice(step * STEP_THREADS_MAX, (step + 1) * STEP_THREADS_MAX),
    },
  }))
}

/** Threads wait for disks and verification for processors: together they take less time. */
function alternated<T>(some: readonly T[], others: readonly T[]): T[] {
  const most = Math.max(some.length, others.length)
  return Array.from({ length: most }, (_, at) => [some[at], others[at]])
    .flat()
    .filter((one) => one !== undefined)
}

function chunkStep(path: string, id: string, chunk: Omit<ChunkName, 'import'>): Step {
  const { author, genesis, log } = chunk
  const key = `${author}:${genesis}:${chunk.chunk}:${log}${path === '/steps/verify' ? ':verify' : ''}`
  return { path, key, body: { import: id, ...chunk } }
}

function toJob({ path, body }: Step, { owner, token }: Submitter): NewJob {
  return {
    topic: STEPS_TOPIC,
    owner,
    call: {
      function: null,
      path,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify(body)).toString('base64'),
    },
  }
}
