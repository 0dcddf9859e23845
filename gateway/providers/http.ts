import type { Logger } from '../../shared/log/log.ts'
import { NAMESPACE, REPLICA_LOOK_MS } from '../constants.ts'
import type { Deployment } from '../deployments/deployment.ts'
import { HTTPFunction } from './http-function.ts'
import type { DeployedFunction, FunctionProvider } from './provider.ts'

export interface HTTPProviderInit {
  functions: readonly Deployment[]
  /** Where each function is served, by its name. */
  origins: ReadonlyMap<string, string>
  drainTimeoutMs: number
  /** Longest wait for the head of an answer. */
  timeoutMs: number
}

/**
 * Functions that a platform runs, such as services of a Swarm: each is called at an address that
 * follows from its name. What is deployed is the platform's business; the stack file tells of it.
 */
export class HTTPProvider implements FunctionProvider {
  readonly orchestration = 'http'
  readonly #log: Logger
  readonly #init: HTTPProviderInit
  readonly #functions = new Map<string, HTTPFunction>()
  #looking: NodeJS.Timeout | undefined

  constructor({ log }: { log: Logger }, init: HTTPProviderInit) {
    this.#log = log
    this.#init = init
  }

  /** Does not wait for the functions: those that are away are called as soon as they are there. */
  async start(): Promise<void> {
    if (this.#functions.size > 0) return
    const { functions, origins, timeoutMs } = this.#init
    for (const deployment of functions) {
      const { name } = deployment
      const origin = origins.get(name)
      if (origin === undefined) throw new Error(`The function ${name} has no address.`)
      const log = this.#log.child({ function: name })
      this.#functions.set(name, new HTTPFunction({ log }, { deployment, origin, timeoutMs }))
    }
    this.#looking = setInterval(() => void this.#look(), REPLICA_LOOK_MS)
    await this.#look()
  }

  async stop(): Promise<void> {
    clearInterval(this.#looking)
    const stopping = [...this.#functions.values()]
    await Promise.all(stopping.map((one) => one.stop(this.#init.drainTimeoutMs)))
    this.#functions.clear()
  }

  list(): readonly DeployedFunction[] {
    return [...this.#functions.values()]
  }

  find(name: string, namespace: string): DeployedFunction | undefined {
    return namespace === NAMESPACE ? this.#functions.get(name) : undefined
  }

  ports(): Record<string, number> {
    return {}
  }

  /** Each function has its own, which Prometheus reads there. */
  async metrics() {
    return []
  }

  async #look(): Promise<void> {
    await Promise.all([...this.#functions.values()].map((one) => one.look()))
  }
}
