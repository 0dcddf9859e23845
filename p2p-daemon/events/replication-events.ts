import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { RepairReason } from '../replication/repair-queue.ts'
import type { RepairResult } from '../replication/repair-worker.ts'
import type { ReplicationStatus } from '../replication/replication-status.ts'
import { REPLICATION_POLL_MS } from './constants.ts'
import type { NodeEvent } from './event.ts'

export interface ReplicationEventsComponents {
  status: () => Promise<Pick<ReplicationStatus, 'owed' | 'underReplicated'>>
  append: (event: NodeEvent) => void
  log: Logger
}

/**
 * Repairs, counted together for a moment, and how many copies are missing, when that changes. No
 * event names a blob: who knows a hash may read what is behind it, and a blob has no project that
 * would say who may know.
 */
export class ReplicationEvents implements Startable {
  readonly #components: ReplicationEventsComponents
  readonly #intervalMs: number
  readonly #repairs = new Map<
    string,
    { reason: RepairReason; result: RepairResult; count: number }
  >()
  #timer: NodeJS.Timeout | undefined
  #last: { owed: number; underReplicated: number } | undefined

  constructor(components: ReplicationEventsComponents, init: { intervalMs?: number } = {}) {
    this.#components = components
    this.#intervalMs = init.intervalMs ?? REPLICATION_POLL_MS
  }

  repaired(reason: RepairReason, result: RepairResult): void {
    const key = `${reason} ${result}`
    const { count } = this.#repairs.get(key) ?? { count: 0 }
    this.#repairs.set(key, { reason, result, count: count + 1 })
  }

  start(): Promise<void> {
    this.#timer ??= setInterval(() => void this.#look(), this.#intervalMs)
    return Promise.resolve()
  }

  stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    return Promise.resolve()
  }

  async #look(): Promise<void> {
    const { status, append, log } = this.#components
    if (this.#repairs.size > 0) {
      const repairs = [...this.#repairs.values()]
      this.#repairs.clear()
      append({ type: 'replication.repaired', project: null, data: { repairs } })
    }
    try {
      const { owed, underReplicated } = await status()
      const last = this.#last
      this.#last = { owed, underReplicated }
      if (!this.#timer || !last) return
      if (last.owed === owed && last.underReplicated === underReplicated) return
      const data = { owed, underReplicated, before: last }
      append({ type: 'replication.changed', project: null, data })
    } catch (error) {
      if (this.#timer) log.warn({ err: error }, 'replication cannot be looked at for events')
    }
  }
}
