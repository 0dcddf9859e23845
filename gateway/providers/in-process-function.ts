import type { IncomingMessage, ServerResponse } from 'node:http'

import type { FastifyInstance } from 'fastify'

import { FunctionUnavailableError } from '../../shared/errors.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'
import { NAMESPACE } from '../constants.ts'
import type { Deployment } from '../deployments/deployment.ts'
import type { DeployedFunction, FunctionDetails } from './provider.ts'

/** One instance of a function: its app, and what that counts. */
export interface Replica {
  app: FastifyInstance
  registry: Registry
}

/** A function in this process: as many apps as it has replicas, served in turn. */
export class InProcessFunction implements DeployedFunction {
  readonly replicas: readonly Replica[]
  readonly #details: FunctionDetails
  readonly #stopping: AbortController
  #turn = 0

  constructor(
    components: { replicas: readonly Replica[]; stopping: AbortController },
    deployment: Deployment,
  ) {
    this.replicas = components.replicas
    this.#stopping = components.stopping
    const { lang: _lang, handler: _handler, port: _port, ...told } = deployment
    this.#details = { ...told, namespace: NAMESPACE, availableReplicas: this.replicas.length }
  }

  details(): FunctionDetails {
    return this.#details
  }

  dispatch(request: IncomingMessage, response: ServerResponse): void {
    const { replicas } = this
    if (replicas.length > 1) this.#turn = (this.#turn + 1) % replicas.length
    const replica = replicas[this.#turn]
    if (!replica) throw new FunctionUnavailableError('The function is scaled to no replica.')
    replica.app.routing(request, response)
  }

  /** Takes readiness away, waits for what is in flight up to the drain time-out, cuts the rest. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await Promise.all(this.replicas.map(({ app }) => app.close()))
  }
}
