import { Agent, request } from 'undici'

import { fromWireError } from '../../shared/http/wire-error.ts'

/** Each of them begins work on the daemon and is answered at once. */
const ANSWER_TIMEOUT_MS = 30_000

/** What a daemon is asked to do, and which answers say that it is taken care of anyway. */
const TASKS = {
  /** Announce all records again, so that the DHT forgets none. */
  provide: { path: '/v1/announce', fine: [] },
  /** Delete what nothing refers to. One that runs, or a backup that holds it, goes first. */
  gc: { path: '/v1/gc', fine: ['BZZZ_GC_RUNNING', 'BZZZ_GC_HELD'] },
  /** Read every blob again. */
  scrub: { path: '/v1/scrub', fine: [] },
} as const satisfies Record<string, { path: string; fine: readonly string[] }>

export type NodeTask = keyof typeof TASKS

export const NODE_TASKS = Object.keys(TASKS) as readonly NodeTask[]

export interface TaskOutcome {
  task: string
  /** The daemon, or null for what concerns the whole cluster. */
  endpoint: string | null
  outcome: 'started' | 'done' | 'skipped' | 'failed'
  detail: string
}

/** Asks every daemon of the list to do something. */
export class NodeTasks {
  readonly #endpoints: readonly string[]
  readonly #agent = new Agent({
    headersTimeout: ANSWER_TIMEOUT_MS,
    bodyTimeout: ANSWER_TIMEOUT_MS,
  })

  constructor(init: { endpoints: readonly string[] }) {
    this.#endpoints = init.endpoints
  }

  /** One that is away fails alone. */
  run(task: NodeTask, options: { token: string; signal: AbortSignal }): Promise<TaskOutcome[]> {
    return Promise.all(this.#endpoints.map((endpoint) => this.#runOn(endpoint, task, options)))
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }

  async #runOn(
    endpoint: string,
    task: NodeTask,
    { token, signal }: { token: string; signal: AbortSignal },
  ): Promise<TaskOutcome> {
    const { path, fine } = TASKS[task]
    try {
      const { statusCode, body } = await request(endpoint + path, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: '{}',
        dispatcher: this.#agent,
        signal,
      })
      const text = await body.text()
      if (statusCode < 300) return { task, endpoint, outcome: 'started', detail: '' }
      const { code, message } = fromWireError(statusCode, text)
      const skipped = (fine as readonly string[]).includes(code)
      return { task, endpoint, outcome: skipped ? 'skipped' : 'failed', detail: message }
    } catch (error) {
      signal.throwIfAborted()
      const detail = error instanceof Error ? error.message : String(error)
      return { task, endpoint, outcome: 'failed', detail }
    }
  }
}
