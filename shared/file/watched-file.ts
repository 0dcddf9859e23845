import { readFile, stat } from 'node:fs/promises'

import { z } from 'zod'

import { InvalidConfigError } from '../errors.ts'
import type { Startable } from '../lifecycle.ts'
import type { Logger } from '../log/log.ts'

/** A change counts this much later at most. */
const POLL_MS = 1_000

/** File systems tell times to a few milliseconds: one changed just now may change unseen again. */
const SETTLED_MS = 2_000

export interface WatchedFileInit<Value> {
  path: string
  /** What the file is to people: "limits". */
  what: string
  /** Throws where the text is not good. */
  parse: (text: string) => Value
  /** What a file that is not there says; without it there must be one. */
  absent?: string
  /** After every change, the first reading included. */
  onChange?: (value: Value) => void
  pollMs?: number
  settledMs?: number
}

/**
 * The value of a settings file. It is looked at every second rather than watched, and read where it
 * looks changed: that works on every file system and with every editor. A change that cannot be
 * read leaves the value before in use, and is reported once.
 */
export class WatchedFile<Value> implements Startable {
  readonly #log: Logger
  readonly #init: WatchedFileInit<Value>
  #text: string | undefined
  /** Of what was read, once a later change is sure to be seen by it. */
  #version: string | undefined
  #value: Value | undefined
  #problem: string | undefined
  #timer: NodeJS.Timeout | undefined
  #reading: Promise<void> = Promise.resolve()

  constructor(components: { log: Logger }, init: WatchedFileInit<Value>) {
    this.#log = components.log
    this.#init = init
  }

  /** What is wrong with the file as it is now. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** There is one from the start on. */
  get value(): Value {
    if (this.#text === undefined) throw new Error(`${this.#init.path} was not read yet.`)
    return this.#value as Value
  }

  /** @throws InvalidConfigError when the file is not good, or not there and has to be */
  async start(): Promise<void> {
    if (this.#timer) return
    await this.reload()
    if (this.#problem !== undefined) throw new InvalidConfigError(this.#problem)
    this.#timer ??= setInterval(() => {
      this.#reading = this.#reading.then(() => this.reload())
    }, this.#init.pollMs ?? POLL_MS)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#reading
  }

  /** Looks at the file now instead of at the next tick. */
  async reload(): Promise<void> {
    const { path, what, parse, onChange } = this.#init
    try {
      const version = await this.#look()
      if (version !== undefined && version === this.#version) return
      const text = await this.#read()
      this.#version = version
      if (text === this.#text) {
        this.#problem = undefined
        return
      }
      const value = parse(text)
      if (this.#text !== undefined) this.#log.info({ path }, `${what} read again`)
      this.#value = value
      this.#text = text
      this.#problem = undefined
      onChange?.(value)
    } catch (error) {
      const reason = error instanceof z.ZodError ? z.prettifyError(error) : reasonOf(error)
      this.#report(`${path} holds no ${what}: ${reason}`)
    }
  }

  /** Undefined where only its text can tell: it is not there, or changed a moment ago. */
  async #look(): Promise<string | undefined> {
    const found = await stat(this.#init.path, { bigint: true }).catch(() => undefined)
    if (!found || Date.now() - Number(found.ctimeMs) < (this.#init.settledMs ?? SETTLED_MS))
      return undefined
    const { dev, ino, size, mtimeNs, ctimeNs } = found
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
  }

  async #read(): Promise<string> {
    const { path, absent } = this.#init
    try {
      return await readFile(path, 'utf8')
    } catch (error) {
      if (absent === undefined || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      return absent
    }
  }

  /** Once for each problem, not every second. */
  #report(problem: string): void {
    if (problem === this.#problem) return
    this.#problem = problem
    if (this.#text === undefined) return
    this.#log.error({ problem }, 'settings not usable, the last good ones stay')
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
