import type { IncomingMessage, ServerResponse } from 'node:http'

import type { Env } from '../../shared/config/env.ts'
import { createFunctionApp } from '../../shared/function/host.ts'
import type { Logger } from '../../shared/log/log.ts'
import { Registry } from '../../shared/metrics/metrics.ts'
import { VERSION } from '../../shared/version.ts'
import { NAMESPACE } from '../constants.ts'
import type { Deployment } from '../deployments/deployment.ts'
import type { FunctionLogs } from '../logs/function-logs.ts'
import { answerError } from '../proxy/answer-error.ts'
import { functionEnv, importHandler } from './handler.ts'
import { InProcessFunction, type Replica } from './in-process-function.ts'
import { FunctionListener } from './listener.ts'
import type { DeployedFunction, FunctionRunner } from './provider.ts'

export interface InProcessProviderComponents {
  log: Logger
  logs: FunctionLogs
}

export interface InProcessProviderInit {
  functions: readonly Deployment[]
  /** What every function inherits. */
  env: Env
  secretsDirs: readonly string[]
  host: string
  portOffset: number
  drainTimeoutMs: number
}

/**
 * Runs the handlers that the stack file names inside this process: Fastify apps, given the requests
 * of the gateway directly, without a network hop.
 */
export class InProcessProvider implements FunctionRunner {
  readonly orchestration = 'in-process'
  readonly #components: InProcessProviderComponents
  readonly #init: InProcessProviderInit
  readonly #running = new Map<string, InProcessFunction>()
  readonly #listeners = new Map<string, FunctionListener>()
  /** Functions that another has replaced, with requests still in flight. */
  readonly #retiring = new Set<Promise<void>>()
  #started = false

  constructor(components: InProcessProviderComponents, init: InProcessProviderInit) {
    this.#components = components
    this.#init = init
  }

  async start(options: { signal?: AbortSignal } = {}): Promise<void> {
    if (this.#started) return
    this.#started = true
    try {
      for (const deployment of this.#init.functions) {
        options.signal?.throwIfAborted()
        await this.deploy(deployment)
      }
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  async stop(): Promise<void> {
    this.#started = false
    const listeners = [...this.#listeners.values()]
    for (const listener of listeners) listener.close()
    await Promise.all([...this.#running.values()].map((one) => one.stop()))
    await Promise.all(this.#retiring)
    for (const listener of listeners) listener.cut()
    this.#listeners.clear()
    this.#running.clear()
  }

  list(): readonly DeployedFunction[] {
    return [...this.#running.values()]
  }

  find(name: string, namespace: string): DeployedFunction | undefined {
    return namespace === NAMESPACE ? this.#running.get(name) : undefined
  }

  ports(): Record<string, number> {
    const bound = [...this.#listeners].map(([name, listener]) => [name, listener.boundPort])
    return Object.fromEntries(bound) as Record<string, number>
  }

  async metrics() {
    const replicas = [...this.#running.values()].flatMap((one) => one.replicas)
    return Promise.all(replicas.map(({ registry }) => registry.getMetricsAsJSON()))
  }

  async deploy(deployment: Deployment): Promise<void> {
    const { name, replicas } = deployment
    const started = await this.#create(deployment)
    try {
      await this.#listen(deployment)
    } catch (error) {
      await started.stop()
      throw error
    }
    const replaced = this.#running.get(name)
    this.#running.set(name, started)
    this.#components.log.info({ function: name, replicas }, 'function started')
    if (replaced) this.#retire(replaced)
  }

  async remove(name: string): Promise<void> {
    const removed = this.#running.get(name)
    this.#running.delete(name)
    if (removed) this.#retire(removed)
    this.#components.logs.forget(name)
    this.#listeners.get(name)?.cut()
    this.#listeners.delete(name)
  }

  async #create(deployment: Deployment): Promise<InProcessFunction> {
    const { name } = deployment
    const stopping = new AbortController()
    const replicas: Replica[] = []
    const plugin = await importHandler(deployment)
    const created = () => new InProcessFunction({ replicas, stopping }, deployment)
    const { env, secretsDirs, drainTimeoutMs } = this.#init
    try {
      while (replicas.length < deployment.replicas) {
        // One registry each: functions that share code would otherwise register a metric twice.
        const registry = new Registry()
        registry.setDefaultLabels({ function: name })
        const components = {
          name,
          env: functionEnv(env, deployment, secretsDirs),
          secretsDirs,
          log: this.#components.logs.logger(name),
          registry,
          signal: stopping.signal,
          version: VERSION,
        }
        const app = await createFunctionApp(plugin, components, { drainTimeoutMs })
        replicas.push({ app, registry })
      }
    } catch (error) {
      await created().stop()
      throw error
    }
    return created()
  }

  /** Sees to the port of the function's own: opened, kept over deployments, moved, or closed. */
  async #listen({ name, port }: Deployment): Promise<void> {
    const { host, portOffset } = this.#init
    const present = this.#listeners.get(name)
    // 0 stays 0: any free port, as tests ask for it.
    const asked = port === null || port === 0 ? port : port + portOffset
    if (present?.port === asked) return
    if (asked !== null) {
      const serve = (request: IncomingMessage, response: ServerResponse) =>
        this.#serve(name, request, response)
      const listener = new FunctionListener(serve, { port: asked })
      await listener.start(host)
      this.#listeners.set(name, listener)
    } else {
      this.#listeners.delete(name)
    }
    present?.cut()
  }

  #serve(name: string, request: IncomingMessage, response: ServerResponse): void {
    try {
      this.#running.get(name)?.dispatch(request, response)
    } catch (error) {
      answerError(response, request.headers['request-id'], error)
    }
  }

  #retire(replaced: InProcessFunction): void {
    const done = replaced.stop().finally(() => this.#retiring.delete(done))
    this.#retiring.add(done)
  }
}
