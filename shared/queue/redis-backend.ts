import { FlowProducer, Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'

import type { Logger } from '../log/log.ts'
import type { Backend, BullFlowProducer, BullProcessor, BullQueue, BullWorker } from './backend.ts'
import { OPERATION_TIMEOUT_MS } from './constants.ts'

/** Everything of bzzz in a Redis that others may use too. */
const PREFIX = 'bzzz'

/** Pause before the n-th attempt to come back: 50 ms, 100 ms ... at most this. */
const RECONNECT_PAUSE_MS_MAX = 1_000

/** Jobs in Redis. One connection submits and looks; each worker has two of its own. */
export class RedisBackend implements Backend {
  readonly kind = 'redis'
  readonly #url: string
  readonly #redis: Redis
  #away = false

  constructor({ log }: { log: Logger }, { url }: { url: string }) {
    this.#url = url
    this.#redis = new Redis(url, {
      // A caller is told at once that the queue is away: a job that waits in this process for the
      // server would be lost with the process, or run although its caller was told that it cannot.
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: false,
      commandTimeout: OPERATION_TIMEOUT_MS,
      lazyConnect: true,
      retryStrategy,
    })
    this.#redis.on('error', (error: Error) => {
      if (!this.#away) log.warn({ reason: error.message }, 'queue is away')
      this.#away = true
    })
    this.#redis.on('ready', () => (this.#away = false))
  }

  async prepare(): Promise<void> {
    if (this.#redis.status === 'wait') await this.#redis.connect()
    await this.#redis.ping()
  }

  createQueue(name: string, options: object): BullQueue {
    const connection = this.#redis
    return new Queue(name, { ...options, connection, prefix: PREFIX }) as unknown as BullQueue
  }

  createFlowProducer(): BullFlowProducer {
    const producer = new FlowProducer({ connection: this.#redis, prefix: PREFIX })
    return producer as unknown as BullFlowProducer
  }

  createWorker(name: string, process: BullProcessor, options: object): BullWorker {
    const connection = { url: this.#url, maxRetriesPerRequest: null, retryStrategy }
    const worker = new Worker(name, process, { ...options, connection, prefix: PREFIX })
    return worker as unknown as BullWorker
  }

  close(): Promise<void> {
    this.#redis.disconnect()
    return Promise.resolve()
  }
}

function retryStrategy(attempt: number): number {
  return Math.min(attempt * 50, RECONNECT_PAUSE_MS_MAX)
}
