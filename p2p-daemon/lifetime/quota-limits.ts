import { z } from 'zod'

import { checkLabel } from '../../shared/address/labels.ts'
import { list, size } from '../../shared/config/env.ts'
import { InvalidConfigError } from '../../shared/errors.ts'
import { WatchedFile } from '../../shared/file/watched-file.ts'
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
 * The limits of projects. The file is read again every second; one that cannot be read changes
 * nothing: a typo must neither stop all writes nor allow all.
 */
export class QuotaLimits implements Startable {
  readonly #file: WatchedFile<Limits>
  #limits: Limits

  /** @throws InvalidConfigError when the text is no list of limits */
  constructor(components: { log: Logger }, init: QuotaLimitsInit) {
    const fallback = parseQuotas(init.text)
    this.#limits = fallback
    this.#file = new WatchedFile(components, {
      path: init.file,
      what: 'limits',
      absent: '',
      parse: (text) => (text === '' ? fallback : limitsOf(JSON.parse(text))),
      onChange: (limits) => (this.#limits = limits),
      pollMs: init.pollMs ?? QUOTA_POLL_MS,
    })
  }

  /** @throws InvalidConfigError when the file is there but holds no limits */
  start(): Promise<void> {
    return this.#file.start()
  }

  stop(): Promise<void> {
    return this.#file.stop()
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
  reload(): Promise<void> {
    return this.#file.reload()
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
