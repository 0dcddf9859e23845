import { setTimeout as sleep } from 'node:timers/promises'

import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { BlobSettlement, Settled } from './blob-settlement.ts'
import {
  QUEUE_RETRY_MS,
  REPAIR_BACKOFF_MAX_MS,
  REPAIR_BACKOFF_MIN_MS,
  REPAIR_POLL_MS,
  REPAIRS_CONCURRENT_MAX,
} from './constants.ts'
import type { RepairJob, RepairQueue, RepairReason } from './repair-queue.ts'

export type RepairResult = 'repaired' | 'dropped' | 'unneeded' | 'lost' | 'waiting' | 'failed'

export type RepairListener = (reason: RepairReason, result: RepairResult) => void

export interface RepairWorkerComponents {
  queue: RepairQueue
  settlement: Pick<BlobSettlement, 'settle'>
  log: Logger
  onRepair?: RepairListener
}

export interface RepairWorkerInit {
  concurrentMax?: number
  backoffMinMs?: number
  /** Pause after the queue could not be read or written. */
  retryMs?: number
}

/** Works off the repair queue: a few blobs at a time, whatever fails again later. */
export class RepairWorker implements Startable {
  readonly #components: RepairWorkerComponents
  readonly #concurrentMax: number
  readonly #backoffMinMs: number
  readonly #retryMs: number
  readonly #running = new Set<Promise<void>>()
  readonly #listeners = new Set<RepairListener>()
  #controller: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()
  #paused = false
  #woken = false
  #wake: () => void = () => undefined

  constructor(components: RepairWorkerComponents, init: RepairWorkerInit = {}) {
    this.#components = components
    this.#concurrentMax = init.concurrentMax ?? REPAIRS_CONCURRENT_MAX
    this.#backoffMinMs = init.backoffMinMs ?? REPAIR_BACKOFF_MIN_MS
    this.#retryMs = init.retryMs ?? QUEUE_RETRY_MS
    if (components.onRepair) this.#listeners.add(components.onRepair)
    components.queue.onChange(() => this.#wakeUp())
  }

  start(): Promise<void> {
    if (this.#controller) return Promise.resolve()
    this.#controller = new AbortController()
    this.#loop = this.#run(this.#controller.signal)
    return Promise.resolve()
  }

  /** What runs is interrupted and as if it had not begun. */
  async stop(): Promise<void> {
    this.#controller?.abort(new Error('The repair worker is stopping.'))
    this.#controller = undefined
    this.#wakeUp()
    await this.#loop
  }

  /** Called after each repair with what became of it. */
  onRepair(listener: RepairListener): void {
    this.#listeners.add(listener)
  }

  /** No further repair begins until `resume`; those that run end. */
  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#wakeUp()
  }

  #wakeUp(): void {
    this.#woken = true
    this.#wake()
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#woken = false
      const free = this.#paused ? 0 : this.#concurrentMax - this.#running.size
      try {
        for (const job of free > 0 ? this.#components.queue.claim(free) : []) {
          this.#begin(job, signal)
        }
        await this.#sleep()
      } catch (error) {
        this.#components.log.warn({ err: error }, 'the repair queue cannot be used')
        await sleep(this.#retryMs, undefined, { signal }).catch(() => undefined)
      }
    }
    await Promise.all(this.#running)
  }

  #begin(job: RepairJob, signal: AbortSignal): void {
    const running = this.#repair(job, signal).finally(() => {
      this.#running.delete(running)
      this.#wakeUp()
    })
    this.#running.add(running)
  }

  async #repair(job: RepairJob, signal: AbortSignal): Promise<void> {
    const { settlement, log } = this.#components
    let settled: Settled | undefined
    try {
      settled = await settlement.settle(job, signal)
    } catch (error) {
      if (!signal.aborted) {
        log.warn({ err: error, hash: job.hash, reason: job.reason }, 'repair failed')
        settled = { state: 'failed', error, missing: 1, short: 0 }
      }
    }
    await this.#recordFor(job, settled, signal)
    if (!settled || settled.state === 'later') return
    for (const listener of this.#listeners) listener(job.reason, resultOf(settled))
  }

  /** Until the disk takes it: a job whose end is not written would never be looked at again. */
  async #recordFor(
    job: RepairJob,
    settled: Settled | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { queue, log } = this.#components
    for (;;) {
      try {
        if (settled) this.#record(job, settled)
        else queue.putBack(job.hash)
        return
      } catch (error) {
        // Left as it is, it is due again after the next start.
        if (signal.aborted) return
        log.warn({ err: error, hash: job.hash }, 'the end of a repair cannot be written')
        await sleep(this.#retryMs, undefined, { signal }).catch(() => undefined)
      }
    }
  }

  #record(job: RepairJob, settled: Settled): void {
    const { queue, log } = this.#components
    const { hash, reason } = job
    switch (settled.state) {
      case 'done':
        return queue.finish(hash)
      case 'waiting':
        return queue.park(job, settled)
      case 'later':
        return queue.retry(hash, { delayMs: settled.delayMs, missing: 0, short: 0 })
      case 'failed':
        log.debug({ err: settled.error, hash, reason }, 'repair did not get through')
        return queue.retry(hash, { ...settled, delayMs: this.#backoffMs(job.attempts) })
    }
  }

  /** Between half and the whole of a doubling pause, so that nodes do not try in step. */
  #backoffMs(attempts: number): number {
    const pauseMs = Math.min(this.#backoffMinMs * 2 ** attempts, REPAIR_BACKOFF_MAX_MS)
    return pauseMs * (0.5 + Math.random() / 2)
  }

  async #sleep(): Promise<void> {
    if (this.#woken) return
    const dueInMs = (this.#components.queue.nextDueMs() ?? Infinity) - performance.now()
    const isFull = this.#paused || this.#running.size >= this.#concurrentMax
    const waitMs = isFull ? REPAIR_POLL_MS : Math.min(Math.max(dueInMs, 0), REPAIR_POLL_MS)
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      timer = setTimeout(resolve, waitMs)
    })
    clearTimeout(timer)
  }
}

function resultOf(settled: Exclude<Settled, { state: 'later' }>): RepairResult {
  return settled.state === 'done' ? settled.result : settled.state
}
