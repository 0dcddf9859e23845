import { setTimeout as sleep } from 'node:timers/promises'

import type { Startable } from '../shared/lifecycle.ts'
import type { Logger } from '../shared/log/log.ts'
import type { JobQueue } from '../shared/queue/job-queue.ts'
import { POLL_RETRY_MS, TRIM_INTERVAL_MS } from './constants.ts'
import type { GatewayClient } from './gateway-client.ts'
import { NO_SUBSCRIPTIONS, readSubscriptions, type Subscriptions } from './subscriptions.ts'
import type { Workers } from './workers.ts'

export interface FollowerComponents {
  gateway: Pick<GatewayClient, 'functions'>
  queue: Pick<JobQueue, 'syncSchedules' | 'trim'>
  workers: Pick<Workers, 'reconcile' | 'topics'>
  log: Logger
}

export interface FollowerInit {
  intervalMs: number
  /** Topics to work on. */
  wanted: readonly string[]
  /** Where a function does not say. */
  concurrency: number
}

/**
 * Asks the gateway again and again which functions there are, and lets workers and schedules
 * follow. While the gateway or the queue is away, what was known stays and it asks more often.
 */
export class Follower implements Startable {
  readonly #components: FollowerComponents
  readonly #init: FollowerInit
  #subscriptions = NO_SUBSCRIPTIONS
  #stopping: AbortController | null = null
  #loop: Promise<void> = Promise.resolve()
  #followed = false
  #problem = ''
  #trimmedMs = performance.now()

  constructor(components: FollowerComponents, init: FollowerInit) {
    this.#components = components
    this.#init = init
  }

  get subscriptions(): Subscriptions {
    return this.#subscriptions
  }

  /** Whether the last look went well. */
  get isFollowing(): boolean {
    return this.#followed
  }

  async start(): Promise<void> {
    if (this.#stopping) return
    const stopping = new AbortController()
    this.#stopping = stopping
    await this.#look(stopping.signal)
    this.#loop = this.#run(stopping.signal)
  }

  async stop(): Promise<void> {
    this.#stopping?.abort()
    await this.#loop
    this.#stopping = null
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const pauseMs = this.#followed ? this.#init.intervalMs : POLL_RETRY_MS
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined)
      if (!signal.aborted) await this.#look(signal)
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { gateway, queue, workers, log } = this.#components
    try {
      // Calls are worked on also while nobody can tell who subscribes to what.
      await workers.reconcile(this.#subscriptions)
      this.#subscriptions = readSubscriptions(await gateway.functions(signal), this.#init)
      await workers.reconcile(this.#subscriptions)
      await queue.syncSchedules(this.#subscriptions.schedules)
      await this.#trim()
      if (this.#problem !== '') log.info('gateway and queue are back')
      this.#problem = ''
      this.#followed = true
    } catch (error) {
      this.#followed = false
      const reason = error instanceof Error ? error.message : String(error)
      // Said once for each outage.
      if (!signal.aborted && reason !== this.#problem) log.warn({ reason }, 'not following')
      this.#problem = reason
    }
  }

  async #trim(): Promise<void> {
    const nowMs = performance.now()
    if (nowMs - this.#trimmedMs < TRIM_INTERVAL_MS) return
    this.#trimmedMs = nowMs
    const { queue, workers } = this.#components
    for (const topic of workers.topics()) await queue.trim(topic)
  }
}
