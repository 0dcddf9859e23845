import type { FastifyInstance } from 'fastify'

import type { Env } from '../config/env.ts'
import type { WireError } from '../http/wire-error.ts'
import type { Logger } from '../log/log.ts'
import type { Registry } from '../metrics/metrics.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Overrides the function's time-out on one route; 0 where a stream is meant to stay open. */
    execTimeoutMs?: number
    /** How an error looks where the route speaks a protocol that is not ours. */
    errorBody?: (wire: WireError) => object
  }
  interface FastifyRequest {
    /**
     * Aborts when the caller leaves or the time-out strikes. Use it instead of Fastify's
     * `request.signal`, which aborts as soon as the body of a POST has been read.
     */
    abandoned: AbortSignal
  }
}

/** What whoever runs a function (its own container, the gateway, a test) gives it. */
export interface FunctionComponents {
  /** The key of the function in the stack file. */
  name: string
  env: Env
  /** Folders with one file per secret, searched in order. */
  secretsDirs: readonly string[]
  log: Logger
  registry: Registry
  /**
   * Aborts when the function begins to drain: loops and streams without an end stop on it.
   * Requests in flight are not to be cut by it; they have `request.abandoned`.
   */
  signal: AbortSignal
  version: string
}

/** True when the function can do its work now. A throw or no answer in time counts as no. */
export type ReadyCheck = (signal: AbortSignal) => Promise<boolean>

export interface FunctionContext extends FunctionComponents {
  /** Adds a check to the readiness routes; its name appears in their answer. */
  ready(name: string, check: ReadyCheck): void
}

/**
 * The default export of `functions/<name>/handler.ts`: a Fastify plugin. It registers
 * authentication, its routes, and an `onClose` hook for what it opened. It does not listen, read
 * the process environment or handle signals.
 */
export type FunctionPlugin = (app: FastifyInstance, context: FunctionContext) => Promise<void>
