import { readFile } from 'node:fs/promises'

import { z } from 'zod'

import { checkLabel } from '../../shared/address/labels.ts'
import { list, size } from '../../shared/config/env.ts'
import { InvalidConfigError } from '../../shared/errors.ts'
import type { Startable } from '../../shared/lifecycle.ts'
import type { Logger } from '../../shared/log/log.ts'
import { QUOTA_POLL_MS } from './constants.ts'

/** Bytes by project; `*` is the limit of every project that is not named. */
type Limits = ReadonlyMap<string, number>

const limitsSchema = z.record(
  z.string().transform((name) => (name === '*' ? name : checkLabel('project', name))),
  size,
)

export interface QuotaLimitsInit {
  /** `{"apollo": "10GiB", "*": "100GiB"}`. While it is there it goes before the text. */
  file: string
  /** `apollo=10GiB,*=100GiB` */
  text: string | undefined
  pollMs?: number
}

/**
 * The limits of projects. The file is read again every second rather than watched: that works on
 * every file system. One that cannot be read changes nothing and is reported until it is mended:
 * a typo must neither stop all writes nor allow all.
 */
export class QuotaLimits implements Startable {
  readonly #log: Logger
  readonly #file: string
  readonly #pollMs: number
  readonly #fallback: Limits
  #limits: Limits
  #text: string | undefined
  #problem: string | undefined
  #timer: NodeJS.Timeout | undefined
  #reading: Promise<void> = Promise.resolve()

  /** @throws InvalidConfigError when the text is no list of limits */
  constructor(components: { log: Logger }, init: QuotaLimitsInit) {
    this.#log = components.log
    this.#file = init.file
    this.#pollMs = init.pollMs ?? QUOTA_POLL_MS
    this.#fallback = parseQuotas(init.text)
    this.#limits = this.#fallback
  }

  /** @throws InvalidConfigError when the file is there but holds no limits */
  async start(): Promise<void> {
    if (this.#timer) return
    await this.reload()
    if (this.#problem !== undefined) throw new InvalidConfigError(this.#problem)
    this.#timer ??= setInterval(() => {
      this.#reading = this.reload()
    }, this.#pollMs)
    this.#timer.unref()
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    await this.#reading
  }

  /** Undefined: none. */
  of(project: string): number | undefined {
    return this.#limits.get(project) ?? this.#limits.get('*')
  }

  /** Projects that have a limit of their own. */
  named(): string[] {
    return [...this.#limits.keys()].filter((name) => name !== '*')
  }

  /** Looks at the file now instead of at the next tick. */
  async reload(): Promise<void> {
    let text = ''
    try {
      text = await readFile(this.#file, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        this.#report(`${this.#file} cannot be read: ${String(error)}`)
        return
      }
    }
    if (text === this.#text) return
    try {
      this.#limits = text === '' ? this.#fallback : limitsOf(JSON.parse(text))
    } catch (error) {
      const reason = error instanceof z.ZodError ? z.prettifyError(error) : String(error)
      this.#report(`${this.#file} holds no limits: ${reason}`)
      return
    }
    if (this.#text !== undefined) {
      this.#log.info({ limits: Object.fromEntries(this.#limits) }, 'quotas read')
    }
    this.#text = text
    this.#problem = undefined
  }

  /** Once for each problem, not every second. */
  #report(problem: string): void {
    if (problem === this.#problem) return
    this.#problem = problem
    this.#log.error({ problem }, 'quotas not usable, the last good ones stay')
  }
}

/** @throws InvalidConfigError */
export function parseQuotas(text: string | undefined): Limits {
  const items = list.parse(text ?? '')
  const entries = items.map((item) => item.split('=').map((part) => part.trim()))
  const wrong = items.find((_, index) => entries[index]!.length !== 2)
  if (wrong !== undefined) {
    throw new InvalidConfigError(`BZZZ_QUOTAS: ${wrong} is not of the form project=10GiB.`)
  }
  try {
    return limitsOf(Object.fromEntries(entries))
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : String(error)
    throw new InvalidConfigError(`BZZZ_QUOTAS: ${reason}`)
  }
}

function limitsOf(value: unknown): Limits {
  return new Map(Object.entries(limitsSchema.parse(value)))
}
