import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

import type { FastifyInstance } from 'fastify'

import type { Env } from '../../shared/config/env.ts'
import { createFunctionApp } from '../../shared/function/host.ts'
import type { StackFunction } from '../../shared/function/stack-file.ts'
import type { Logger } from '../../shared/log/log.ts'
import { Registry } from '../../shared/metrics/metrics.ts'
import { asPortInUse } from '../../shared/process/entry.ts'
import { VERSION } from '../../shared/version.ts'
import { NAMESPACE } from '../constants.ts'
import { functionEnv, importHandler } from './handler.ts'
import type { DeployedFunction, FunctionDetails, FunctionProvider } from './provider.ts'

export interface InProcessProviderInit {
  functions: readonly StackFunction[]
  /** What every function inherits. */
  env: Env
  secretsDirs: readonly string[]
  host: string
  portOffset: number
  drainTimeoutMs: number
}

/**
 * Runs the handlers that the stack file names inside this process: one Fastify app each, given the
 * requests of the gateway directly, without a network hop.
 */
export class InProcessProvider implements FunctionProvider {
  readonly orchestration = 'in-process'
  readonly #log: Logger
  readonly #init: InProcessProviderInit
  readonly #running = new Map<string, InProcessFunction>()
  #stopping = new AbortController()

  constructor({ log }: { log: Logger }, init: InProcessProviderInit) {
    this.#log = log
    this.#init = init
  }

  async start(options: { signal?: AbortSignal } = {}): Promise<void> {
    if (this.#running.size > 0) return
    this.#stopping = new AbortController()
    try {
      for (const definition of this.#init.functions) {
        options.signal?.throwIfAborted()
        await this.#startOne(definition)
        this.#log.info({ function: definition.name }, 'function started')
      }
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  /** Takes readiness away, waits for what is in flight up to the drain time-out, cuts the rest. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await Promise.all([...this.#running.values()].map(({ app }) => app.close()))
    this.#running.clear()
  }

  list(): readonly DeployedFunction[] {
    return [...this.#running.values()]
  }

  find(name: string, namespace: string): DeployedFunction | undefined {
    return namespace === NAMESPACE ? this.#running.get(name) : undefined
  }

  ports(): Record<string, number> {
    const ports: Record<string, number> = {}
    for (const [name, { app }] of this.#running) {
      if (app.server.listening) ports[name] = (app.server.address() as AddressInfo).port
    }
    return ports
  }

  async metrics() {
    const functions = [...this.#running.values()]
    return Promise.all(functions.map(({ registry }) => registry.getMetricsAsJSON()))
  }

  async #startOne(definition: StackFunction): Promise<void> {
    const { name } = definition
    // One registry each: functions that share code would otherwise register a metric twice.
    const registry = new Registry()
    registry.setDefaultLabels({ function: name })
    const app = await createFunctionApp(
      await importHandler(definition),
      {
        name,
        env: functionEnv(this.#init.env, definition),
        secretsDirs: this.#init.secretsDirs,
        log: this.#log.child({ function: name }),
        registry,
        signal: this.#stopping.signal,
        version: VERSION,
      },
      { drainTimeoutMs: this.#init.drainTimeoutMs },
    )
    // Known from here on, so that a port that is taken stops this one too.
    this.#running.set(name, new InProcessFunction({ app, registry }, definition))
    if (definition.port !== null) await this.#listen(app, definition.port)
  }

  async #listen(app: FastifyInstance, port: number): Promise<void> {
    const { host, portOffset } = this.#init
    try {
      // 0 stays 0: any free port, as tests ask for it.
      await app.listen({ host, port: port === 0 ? 0 : port + portOffset })
    } catch (error) {
      throw asPortInUse(error) ?? error
    }
  }
}

class InProcessFunction implements DeployedFunction {
  readonly app: FastifyInstance
  readonly registry: Registry
  readonly #details: FunctionDetails

  constructor(components: { app: FastifyInstance; registry: Registry }, definition: StackFunction) {
    this.app = components.app
    this.registry = components.registry
    const { name, image, environment, secrets, labels, annotations } = definition
    const { limits, requests, readOnlyRootFilesystem } = definition
    this.#details = {
      name,
      namespace: NAMESPACE,
      image,
      process: '',
      environment,
      secrets,
      labels,
      annotations,
      limits,
      requests,
      readOnlyRootFilesystem,
      replicas: 1,
      availableReplicas: 1,
      createdAt: new Date(),
    }
  }

  details(): FunctionDetails {
    return this.#details
  }

  dispatch(request: IncomingMessage, response: ServerResponse): void {
    this.app.routing(request, response)
  }
}
