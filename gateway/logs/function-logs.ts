import { OverloadedError } from '../../shared/errors.ts'
import { createTappedLogger, type Logger } from '../../shared/log/log.ts'
import { LOG_BYTES_MAX, LOG_FOLLOWERS_MAX, LOG_LINES_MAX } from '../constants.ts'
import { LogFollower } from './log-follower.ts'

/** One line that a function wrote, and when. */
export interface LogLine {
  timestamp: Date
  text: string
}

export interface LogRequest {
  /** So many of the last lines; all that are kept where absent. */
  tail?: number
  /** Lines from then on. */
  since?: Date
  /** With it the reading goes on with new lines until the signal aborts. */
  follow?: AbortSignal
}

/** Retry-After for one reader too many: readers come and go with people. */
const FOLLOWERS_RETRY_SECONDS = 10

/** The last log lines of every function in this process, which also go where its log goes. */
export class FunctionLogs {
  readonly #log: Logger
  readonly #kept = new Map<string, KeptLines>()
  readonly #followers = new Set<LogFollower>()

  constructor({ log }: { log: Logger }) {
    this.#log = log
  }

  /** What the function writes to. Its lines are kept over deployments of the same name. */
  logger(name: string): Logger {
    return createTappedLogger(this.#log, { function: name }, (line) => this.#add(name, line))
  }

  /** @throws OverloadedError when too many readers follow already */
  read(name: string, request: LogRequest): AsyncIterable<LogLine> {
    const { tail, since, follow } = request
    if (follow && this.#followers.size >= LOG_FOLLOWERS_MAX) {
      const message = `More than ${LOG_FOLLOWERS_MAX} readers follow logs.`
      throw new OverloadedError(message, FOLLOWERS_RETRY_SECONDS)
    }
    const kept = this.#kept.get(name)?.lines ?? []
    const wanted = since ? kept.filter(({ timestamp }) => timestamp >= since) : [...kept]
    const lines = tail === undefined ? wanted : wanted.slice(Math.max(wanted.length - tail, 0))
    if (!follow) return only(lines)
    // Registered here, not when the reading begins: no line between the two is missed.
    const follower = new LogFollower(name, lines)
    this.#followers.add(follower)
    follow.addEventListener('abort', () => this.#followers.delete(follower), { once: true })
    return follower.read(follow)
  }

  /** Of a function that was removed. */
  forget(name: string): void {
    this.#kept.delete(name)
  }

  #add(name: string, text: string): void {
    const line = { timestamp: new Date(), text: text.trimEnd() }
    let kept = this.#kept.get(name)
    if (!kept) this.#kept.set(name, (kept = new KeptLines()))
    kept.add(line)
    for (const follower of this.#followers) {
      if (follower.name === name) follower.add(line)
    }
  }
}

class KeptLines {
  readonly lines: LogLine[] = []
  #bytes = 0

  add(line: LogLine): void {
    this.lines.push(line)
    this.#bytes += line.text.length
    while (this.lines.length > LOG_LINES_MAX || this.#bytes > LOG_BYTES_MAX) {
      this.#bytes -= this.lines.shift()?.text.length ?? 0
    }
  }
}

async function* only(lines: readonly LogLine[]): AsyncIterable<LogLine> {
  yield* lines
}
