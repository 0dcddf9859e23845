import type { IncomingMessage, ServerResponse } from 'node:http'

import type { MetricObjectWithValues, MetricValue } from 'prom-client'

import type { Startable } from '../../shared/lifecycle.ts'
import type { Deployment } from '../deployments/deployment.ts'

/** What is known of a deployed function. */
export interface FunctionDetails extends Omit<Deployment, 'lang' | 'handler' | 'port'> {
  namespace: string
  availableReplicas: number
}

/** A function that can be called. */
export interface DeployedFunction {
  details(): FunctionDetails
  /**
   * Serves one request whose URL no longer has the prefix of the gateway. Takes over the response
   * and ends it in every case. When the caller leaves, so does the work.
   * @throws FunctionUnavailableError when no replica of it runs
   */
  dispatch(request: IncomingMessage, response: ServerResponse): void
}

/**
 * What runs the functions: this process, or a platform such as Swarm. The read side is synchronous
 * because it lies on the path of every call: a provider that asks a platform keeps its answer.
 */
export interface FunctionProvider extends Startable {
  /** Told to people: where the functions run. */
  readonly orchestration: string
  list(): readonly DeployedFunction[]
  find(name: string, namespace: string): DeployedFunction | undefined
  /** Ports of listeners beside the gateway, by function. */
  ports(): Readonly<Record<string, number>>
  /** The functions' own metrics, where they cannot be scraped elsewhere. */
  metrics(): Promise<readonly MetricObjectWithValues<MetricValue<string>>[][]>
}

/** A provider that can change what runs. Changes come one at a time: `gateway/deployments`. */
export interface FunctionRunner extends FunctionProvider {
  /**
   * Runs the function, in the place of the one with its name. Requests in flight end on that one;
   * when the new one cannot start, it stays.
   */
  deploy(deployment: Deployment): Promise<void>
  /** Requests in flight end within the drain time-out. */
  remove(name: string): Promise<void>
}
