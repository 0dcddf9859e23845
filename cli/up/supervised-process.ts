import type { ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'

import { ProcessStartError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import { RESTART_CALM_MS, RESTART_DELAY_MS, RESTART_DELAY_MS_MAX } from './constants.ts'
import { readLastWords, sizeOf } from './log-file.ts'

/** How one part is started, known to serve, and asked to end. */
export interface ProcessSpec<Ready> {
  name: string
  logFile: string
  readyTimeoutMs: number
  stopTimeoutMs: number
  /** A detached child: it leads a process group of its own, so that Ctrl-C does not reach it. */
  spawn(): ChildProcess | Promise<ChildProcess>
  /** Resolves once it serves; rejects when it says that it cannot. */
  waitReady(child: ChildProcess, signal: AbortSignal): Promise<Ready>
  requestStop(child: ChildProcess): void
}

export interface StopOptions {
  /** Ends the wait for an orderly end. */
  force?: AbortSignal
  /** How long to wait, instead of what the spec says. */
  timeoutMs?: number
}

interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

interface Launched<Ready> {
  child: ChildProcess
  exited: Promise<Exit>
  ready: Ready
  startedAtMs: number
}

/**
 * Keeps one child process running. States: stopped -> starting -> running <-> waiting for the next
 * attempt -> stopped. Only the first start may fail; from then on a death is answered by another
 * start after a pause that doubles from RESTART_DELAY_MS to RESTART_DELAY_MS_MAX.
 */
export class SupervisedProcess<Ready> {
  readonly #log: Logger
  readonly #spec: ProcessSpec<Ready>
  readonly #onReady: (ready: Ready) => void
  #stopping: AbortController | null = null
  #starting: Promise<Ready> | null = null
  #child: ChildProcess | null = null
  #keeping: Promise<void> = Promise.resolve()
  #restarts = 0

  constructor(
    { log }: { log: Logger },
    init: { spec: ProcessSpec<Ready>; onReady?: (ready: Ready) => void },
  ) {
    this.#log = log
    this.#spec = init.spec
    this.#onReady = init.onReady ?? (() => undefined)
  }

  get name(): string {
    return this.#spec.name
  }

  get pid(): number | null {
    return this.#child?.pid ?? null
  }

  get restarts(): number {
    return this.#restarts
  }

  /** @throws ProcessStartError with the last words of the part. Nothing is left running then. */
  start(options: { signal?: AbortSignal } = {}): Promise<Ready> {
    this.#starting ??= this.#startOnce(options.signal)
    return this.#starting
  }

  async #startOnce(signal?: AbortSignal): Promise<Ready> {
    const stopping = new AbortController()
    this.#stopping = stopping
    const cause = signal ? AbortSignal.any([signal, stopping.signal]) : stopping.signal
    try {
      const launched = await this.#launch(cause)
      this.#keeping = this.#keepRunning(launched, stopping.signal)
      return launched.ready
    } catch (error) {
      this.#starting = null
      throw error
    }
  }

  /** SIGTERM or its like, then SIGKILL of the whole group. */
  async stop(options: StopOptions = {}): Promise<void> {
    this.#stopping?.abort()
    await this.#starting?.catch(() => undefined)
    if (this.#child) await this.#end(this.#child, options)
    await this.#keeping
    this.#starting = null
  }

  async #launch(signal: AbortSignal): Promise<Launched<Ready>> {
    signal.throwIfAborted()
    const { name, logFile, readyTimeoutMs } = this.#spec
    const logStart = sizeOf(logFile)
    const startedAtMs = Date.now()
    const child = await this.#spec.spawn()
    this.#child = child
    const exited = exitOf(child)
    void exited.then(() => {
      if (this.#child === child) this.#child = null
    })
    const given = new AbortController()
    const until = AbortSignal.any([signal, given.signal, AbortSignal.timeout(readyTimeoutMs)])
    try {
      const ready = await Promise.race([
        this.#spec.waitReady(child, until),
        exited.then((exit): never => {
          throw new Error(`it ended with ${describeExit(exit)}`)
        }),
        rejectOn(until, `it was not ready within ${readyTimeoutMs / 1000} s`),
      ])
      this.#onReady(ready)
      return { child, exited, ready, startedAtMs }
    } catch (error) {
      if (signal.aborted) await this.#end(child)
      else killGroup(child)
      await exited
      signal.throwIfAborted()
      const lastWords = isSaid(error) ? '' : await readLastWords(logFile, logStart)
      throw new ProcessStartError(
        `${name} did not start: ${reasonOf(error)}.${lastWords && `\n${lastWords}`}`,
        { cause: error },
      )
    } finally {
      given.abort()
    }
  }

  async #keepRunning(first: Launched<Ready>, stopping: AbortSignal): Promise<void> {
    let current: Launched<Ready> | null = first
    let delayMs = RESTART_DELAY_MS
    while (!stopping.aborted) {
      if (current) {
        const exit = await current.exited
        if (stopping.aborted) return
        if (Date.now() - current.startedAtMs > RESTART_CALM_MS) delayMs = RESTART_DELAY_MS
        this.#log.warn({ part: this.name, ...exit, delayMs }, 'a part died and is started again')
      }
      await sleep(delayMs, undefined, { signal: stopping }).catch(() => undefined)
      delayMs = Math.min(2 * delayMs, RESTART_DELAY_MS_MAX)
      if (stopping.aborted) return
      this.#restarts++
      current = await this.#launch(stopping).catch((error: unknown) => {
        if (!stopping.aborted) {
          const [reason] = reasonOf(error).split('\n')
          this.#log.error({ part: this.name, reason }, 'a part did not come back')
        }
        return null
      })
    }
  }

  async #end(child: ChildProcess, { force, timeoutMs }: StopOptions = {}): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = exitOf(child)
    this.#spec.requestStop(child)
    const patience = [
      AbortSignal.timeout(timeoutMs ?? this.#spec.stopTimeoutMs),
      ...(force ? [force] : []),
    ]
    const inTime = await Promise.race([
      exited.then(() => true),
      rejectOn(AbortSignal.any(patience), '').catch(() => false),
    ])
    if (inTime) return
    this.#log.warn({ part: this.name }, 'a part did not stop in time and is killed')
    killGroup(child)
    await exited
  }
}

/** An error in the part's own words; the log would only repeat it. */
class SaidError extends Error {}

/** For `waitReady`: the part told why it cannot start. */
export function said(message: string): Error {
  return new SaidError(message)
}

function isSaid(error: unknown): boolean {
  return error instanceof SaidError
}

function exitOf(child: ChildProcess): Promise<Exit> {
  if (child.exitCode !== null || child.signalCode !== null) {
    return Promise.resolve({ code: child.exitCode, signal: child.signalCode })
  }
  return new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
    // A program that cannot be executed has no process, hence no exit.
    child.once('error', () => {
      if (child.pid === undefined) resolve({ code: 127, signal: null })
    })
  })
}

function rejectOn(signal: AbortSignal, message: string): Promise<never> {
  return new Promise((_, reject) => {
    const fail = () => reject(new Error(message))
    if (signal.aborted) fail()
    else signal.addEventListener('abort', fail, { once: true })
  })
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // Nobody is left in the group.
  }
}

function describeExit({ code, signal }: Exit): string {
  return signal ? `signal ${signal}` : `exit code ${code}`
}

function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  return message.replace(/\.$/, '')
}
