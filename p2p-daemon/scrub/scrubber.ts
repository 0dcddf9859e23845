import { BlobNotFoundError } from '../../shared/errors.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { SYSTEM_CLOCK, type Clock } from '../clock.ts'
import type { BlobStore } from '../store/blob-store.ts'
import {
  FAILURE_PAUSE_MS,
  PAUSE_MS_MAX,
  PAUSE_MS_MIN,
  READ_TRIES_MAX,
  SAVE_INTERVAL_MS,
} from './constants.ts'
import type { ScrubMetrics, ScrubResult } from './scrub-metrics.ts'
import { dueAfter, pauseAfter, type PaceLimits } from './scrub-pace.ts'
import type { ScrubPass, ScrubProgress } from './scrub-progress.ts'

export interface ScrubberComponents {
  store: Pick<BlobStore, 'list' | 'verify' | 'usage'>
  progress: ScrubProgress
  /** A copy was bad and is in quarantine: bring a good one. Must not throw. */
  repair: (hash: string, reason: 'scrub') => void
  metrics: ScrubMetrics
  log: Logger
  clock?: Clock
}

export interface ScrubberInit extends PaceLimits {
  /** Every blob is read once in this time; 0: only when asked for. */
  periodMs: number
}

/**
 * Reads every blob again. A regular pass spreads over the period; one that was asked for goes as
 * fast as the limits allow and stands for a regular one. Walks in hash order and goes on after a
 * restart where it was.
 */
export class Scrubber implements Startable {
  readonly #components: ScrubberComponents
  readonly #init: ScrubberInit
  readonly #clock: Clock
  #pass: ScrubPass | undefined
  #controller: AbortController | undefined
  #loop: Promise<void> = Promise.resolve()
  /** Ends what the loop is doing so that it looks at the pass again. */
  #turn = new AbortController()
  #savedMs = 0
  /** Pauses too short to be worth a timer add up here. */
  #owedPauseMs = 0

  constructor(components: ScrubberComponents, init: ScrubberInit) {
    this.#components = components
    this.#init = init
    this.#clock = components.clock ?? SYSTEM_CLOCK
  }

  start(): Promise<void> {
    if (this.#controller) return Promise.resolve()
    const { progress, metrics } = this.#components
    this.#pass = progress.load()
    metrics.success(this.#pass?.lastSuccessMs ?? 0)
    this.#controller = new AbortController()
    this.#loop = this.#run(this.#controller.signal)
    return Promise.resolve()
  }

  async stop(): Promise<void> {
    if (!this.#controller) return
    this.#controller.abort()
    this.#controller = undefined
    this.#turn.abort()
    await this.#loop
    if (this.#pass) this.#components.progress.save(this.#pass)
  }

  /** The pass that runs or ran last. */
  current(): Readonly<ScrubPass> | undefined {
    return this.#pass
  }

  /** Starts over at the first hash, as fast as the limits allow. One that runs so is joined. */
  async ask(): Promise<Readonly<ScrubPass>> {
    if (this.#pass?.state === 'running' && this.#pass.kind === 'asked') return this.#pass
    const pass = await this.#begin('asked')
    this.#turn.abort()
    return pass
  }

  /** Back to the regular pace from where the pass is; without a period it ends. */
  cancel(): Readonly<ScrubPass> | undefined {
    const pass = this.#pass
    if (pass?.state !== 'running' || pass.kind !== 'asked') return pass
    if (this.#init.periodMs > 0) pass.kind = 'regular'
    else this.#end(pass, 'cancelled')
    this.#turn.abort()
    return pass
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#turn = new AbortController()
      try {
        await this.#next(AbortSignal.any([signal, this.#turn.signal]))
      } catch (error) {
        if (this.#turn.signal.aborted || signal.aborted) continue
        this.#components.log.error({ err: error }, 'the scrub was interrupted')
        await this.#clock.sleep(FAILURE_PAUSE_MS, signal).catch(() => undefined)
      }
    }
  }

  async #next(signal: AbortSignal): Promise<void> {
    if (this.#pass?.state === 'running') return this.#walk(this.#pass, signal)
    const { periodMs } = this.#init
    if (periodMs === 0) return this.#sleepUntil(Infinity, signal)
    await this.#sleepUntil((this.#pass?.startedMs ?? -Infinity) + periodMs, signal)
    await this.#begin('regular')
  }

  async #begin(kind: ScrubPass['kind']): Promise<ScrubPass> {
    const { blobs, bytes } = await this.#components.store.usage()
    const pass: ScrubPass = {
      kind,
      state: 'running',
      checked: 0,
      total: blobs,
      totalBytes: bytes,
      bytes: 0,
      bad: 0,
      failed: 0,
      startedMs: this.#clock.now(),
      finishedMs: null,
      cursor: '',
      lastSuccessMs: this.#pass?.lastSuccessMs ?? null,
    }
    this.#pass = pass
    this.#components.progress.save(pass)
    this.#components.log.info({ kind, total: blobs }, 'a scrub began')
    return pass
  }

  async #walk(pass: ScrubPass, signal: AbortSignal): Promise<void> {
    const { store, log } = this.#components
    const after = pass.cursor === '' ? {} : { after: pass.cursor }
    for await (const { hash } of store.list({ ...after, signal })) {
      await this.#check(pass, hash, signal)
      pass.cursor = hash
      pass.checked += 1
      this.#saveSometimes(pass)
      if (pass.kind === 'regular') {
        await this.#sleepUntil(dueAfter(hash, pass.startedMs, this.#init.periodMs), signal)
      }
    }
    this.#end(pass, 'done')
    log.info({ ...pass }, 'a scrub ended')
  }

  /** A blob counts once it was read whole; one that is gone by now was deleted or moved away. */
  async #check(pass: ScrubPass, hash: string, signal: AbortSignal): Promise<void> {
    const { metrics, repair, log } = this.#components
    const result = await this.#read(pass, hash, signal)
    metrics.blob(result)
    if (result === 'failed') pass.failed += 1
    if (result !== 'bad') return
    pass.bad += 1
    log.warn({ hash }, 'the scrub found a bad copy, it is in quarantine')
    repair(hash, 'scrub')
  }

  async #read(pass: ScrubPass, hash: string, signal: AbortSignal): Promise<ScrubResult> {
    const { store, metrics, log } = this.#components
    for (let tries = 1; ; tries += 1) {
      let sinceMs = performance.now()
      const pace = async (bytes: number): Promise<void> => {
        const busyMs = performance.now() - sinceMs
        pass.bytes += bytes
        metrics.bytes(bytes)
        this.#owedPauseMs += pauseAfter(bytes, busyMs, this.#init)
        await this.#payPause(signal)
        sinceMs = performance.now()
      }
      try {
        return (await store.verify(hash, { signal, pace })) ? 'good' : 'bad'
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof BlobNotFoundError) return 'gone'
        log.error({ err: error, hash, tries }, 'the scrub cannot read a blob')
        if (tries === READ_TRIES_MAX) return 'failed'
        await this.#clock.sleep(FAILURE_PAUSE_MS, signal)
      }
    }
  }

  #end(pass: ScrubPass, state: 'done' | 'cancelled'): void {
    pass.state = state
    pass.finishedMs = this.#clock.now()
    if (state === 'done' && pass.failed === 0) {
      pass.lastSuccessMs = pass.finishedMs
      this.#components.metrics.success(pass.finishedMs)
    }
    this.#components.progress.save(pass)
  }

  #saveSometimes(pass: ScrubPass): void {
    const nowMs = performance.now()
    if (nowMs - this.#savedMs < SAVE_INTERVAL_MS) return
    this.#savedMs = nowMs
    this.#components.progress.save(pass)
  }

  async #payPause(signal: AbortSignal): Promise<void> {
    if (this.#owedPauseMs < PAUSE_MS_MIN) return
    const ms = this.#owedPauseMs
    this.#owedPauseMs = 0
    await this.#sleepUntil(this.#clock.now() + ms, signal)
  }

  async #sleepUntil(atMs: number, signal: AbortSignal): Promise<void> {
    for (let leftMs = atMs - this.#clock.now(); leftMs > 0; leftMs = atMs - this.#clock.now()) {
      await this.#clock.sleep(Math.min(leftMs, PAUSE_MS_MAX), signal)
    }
  }
}
