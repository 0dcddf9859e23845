import type { IncomingMessage, ServerResponse } from 'node:http'

import type { MetricObjectWithValues, MetricValue } from 'prom-client'

import type { Resources } from '../../shared/function/stack-file.ts'
import type { Startable } from '../../shared/lifecycle.ts'

/** What is known of a deployed function, in the terms of the stack file. */
export interface FunctionDetails {
  name: string
  namespace: string
  image: string
  /** The command of the image, where the provider runs one. */
  process: string
  environment: Readonly<Record<string, string>>
  secrets: readonly string[]
  labels: Readonly<Record<string, string>>
  annotations: Readonly<Record<string, string>>
  limits: Resources | null
  requests: Resources | null
  readOnlyRootFilesystem: boolean
  replicas: number
  availableReplicas: number
  createdAt: Date
}

/** A function that can be called. */
export interface DeployedFunction {
  details(): FunctionDetails
  /**
   * Serves one request whose URL no longer has the prefix of the gateway. Takes over the response
   * and ends it in every case. When the caller leaves, so does the work.
   */
  dispatch(request: IncomingMessage, response: ServerResponse): void
}

/**
 * What runs the functions: this process, or a platform such as Swarm. The read side is synchronous
 * because it lies on the path of every call: a provider that asks a platform keeps its answer.
 * Changing what is deployed will be further methods beside these.
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
