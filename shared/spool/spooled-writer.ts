import { setTimeout as sleep } from 'node:timers/promises'

import type { Startable } from '../lifecycle.ts'
import type { Logger } from '../log/log.ts'
import { pause } from '../pause.ts'
import { BATCH_MAX, GATHER_MS, RETRY_MS, RETRY_MS_MAX, STOP_TIMEOUT_MS } from './constants.ts'
import type { LineSpool } from './line-spool.ts'

export interface SpooledWriterComponents<Entry extends { id: string }> {
  /** Without one, entries wait in memory only and are lost with the process. */
  spool: LineSpool<Entry> | null
  log: Logger
}

export interface SpooledWriterInit<Entry extends { id: string }> {
  /** What the entries are to people: "audit rows". */
  what: string
  /** Leaves alone what is there already: an attempt whose answer was lost is repeated. */
  write: (batch: readonly Entry[]) => Promise<void>
}

/**
 * Writes entries to a database, in batches and behind whoever adds them. While the database is away
 * they wait: in memory, and in the spool once an attempt has failed. How many may wait is up to
 * whoever adds them, by `waiting`.
 *
 * States: stopped -> writing -> (failure) waiting -> writing -> stopped.
 */
export class SpooledWriter<Entry extends { id: string }> implements Startable {
  readonly #components: SpooledWriterComponents<Entry>
  readonly #init: SpooledWriterInit<Entry>
  readonly #pending: Entry[] = []
  /** How many of the pending ones, from the first, are in the spool. */
  #spooled = 0
  #spoolKnown = false
  #stopping: AbortController | null = null
  #loop: Promise<void> = Promise.resolve()
  #wake: () => void = () => undefined

  constructor(components: SpooledWriterComponents<Entry>, init: SpooledWriterInit<Entry>) {
    this.#components = components
    this.#init = init
  }

  get waiting(): number {
    return this.#pending.length
  }

  add(entry: Entry): void {
    this.#pending.push(entry)
    this.#wake()
  }

  start(): Promise<void> {
    if (this.#stopping) return Promise.resolve()
    this.#stopping = new AbortController()
    this.#loop = this.#run(this.#stopping.signal)
    return Promise.resolve()
  }

  /** What the database does not take now is in the spool afterwards. */
  async stop(): Promise<void> {
    if (!this.#stopping) return
    this.#stopping.abort()
    this.#stopping = null
    this.#wake()
    await this.#loop
    await this.#recallSpool()
    const late = sleep(STOP_TIMEOUT_MS, 'late' as const, { ref: false })
    while (this.#pending.length > 0) {
      const attempt = this.#write().then(
        () => 'written' as const,
        () => 'failed' as const,
      )
      if ((await Promise.race([attempt, late])) !== 'written') break
    }
    await this.#keep()
    if (this.#pending.length === 0 || this.#components.spool) return
    this.#components.log.error(
      { rows: this.#pending.length },
      `${this.#init.what} are lost: there is no spool`,
    )
  }

  async #run(signal: AbortSignal): Promise<void> {
    let pauseMs = RETRY_MS
    while (!signal.aborted) {
      await this.#recallSpool()
      if (this.#pending.length === 0 && !signal.aborted) await this.#sleep()
      else await pause(GATHER_MS, signal)
      if (signal.aborted) return
      try {
        while (this.#pending.length > 0 && !signal.aborted) {
          await this.#write()
          // Otherwise a busy process would write a few rows again and again.
          if (this.#pending.length < BATCH_MAX) await pause(GATHER_MS, signal)
        }
        pauseMs = RETRY_MS
      } catch (error) {
        this.#components.log.warn(
          { err: error, rows: this.#pending.length },
          `${this.#init.what} wait`,
        )
        await this.#keep()
        await pause(pauseMs, signal)
        pauseMs = Math.min(pauseMs * 2, RETRY_MS_MAX)
      }
    }
  }

  /** Takes over what an earlier process left, once; it goes first, as it happened first. */
  async #recallSpool(): Promise<void> {
    if (this.#spoolKnown || !this.#components.spool) return
    try {
      const left = await this.#components.spool.read()
      this.#pending.unshift(...left)
      this.#spooled = left.length
      this.#spoolKnown = true
    } catch (error) {
      this.#components.log.error({ err: error }, `the spool of ${this.#init.what} cannot be read`)
    }
  }

  async #write(): Promise<void> {
    const batch = this.#pending.slice(0, BATCH_MAX)
    await this.#init.write(batch)
    this.#pending.splice(0, batch.length)
    if (this.#spooled === 0) return
    this.#spooled = Math.max(0, this.#spooled - batch.length)
    // A crash before this sends them again, and the database knows them by their id.
    if (this.#spooled === 0) await this.#components.spool?.clear()
  }

  /** Puts what is only in memory into the spool. */
  async #keep(): Promise<void> {
    const fresh = this.#pending.slice(this.#spooled)
    if (!this.#components.spool || !this.#spoolKnown || fresh.length === 0) return
    try {
      await this.#components.spool.add(fresh)
      this.#spooled += fresh.length
    } catch (error) {
      this.#components.log.error(
        { err: error, rows: fresh.length },
        `${this.#init.what} cannot be spooled`,
      )
    }
  }

  async #sleep(): Promise<void> {
    await new Promise<void>((resolve) => (this.#wake = resolve))
  }
}
