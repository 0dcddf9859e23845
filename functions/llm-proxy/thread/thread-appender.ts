import type { Logger } from '../../../shared/log/log.ts'
import { Gauge, type Registry } from '../../../shared/metrics/metrics.ts'
import { pause } from '../../../shared/pause.ts'
import type { NewMessage } from '../../../shared/thread/new-message.ts'
import type { Threads } from '../../../shared/thread/threads.ts'
import type { CallMetrics } from '../metrics.ts'
import { messagesOf, type CallAnswer } from './call-messages.ts'

/** Calls whose messages wait to be appended, and their bytes: more are dropped and counted. */
const WAITING_MAX = 1024
const WAITING_BYTES_MAX = 64 * 1024 * 1024

/** Threads written to at once; calls of one thread are appended one behind the other. */
const WORKERS_MAX = 8

/** An append is tried so often, with pauses of 1, 2 and 4 s: a node that restarts is back then. */
const ATTEMPTS_MAX = 4
const PAUSE_MS = 1000

/** What still waits when the function stops gets this long. */
const STOP_TIMEOUT_MS = 5000

export interface ThreadCall {
  thread: string
  token: string
  author: string
  requestBody: Buffer
  answer: CallAnswer
  /** Address of the exchange, where it is recorded. */
  exchange: string | null
}

export interface ThreadAppenderComponents {
  threads: Pick<Threads, 'append'>
  metrics: Pick<CallMetrics, 'appended'>
  log: Logger
  registry: Registry
}

/** Appends the messages of calls to threads, behind the answers and never in their way. */
export class ThreadAppender {
  readonly #components: ThreadAppenderComponents
  readonly #pauseMs: number
  readonly #waiting: ThreadCall[] = []
  readonly #busy = new Set<string>()
  readonly #running = new Set<Promise<void>>()
  readonly #stopping = new AbortController()
  #bytes = 0

  constructor(components: ThreadAppenderComponents, init: { pauseMs?: number } = {}) {
    this.#components = components
    this.#pauseMs = init.pauseMs ?? PAUSE_MS
    const waiting: Gauge = new Gauge({
      name: 'bzzz_llm_thread_appends_pending',
      help: 'Calls whose messages wait to be appended to a thread',
      registers: [components.registry],
      collect: () => waiting.set(this.#waiting.length + this.#busy.size),
    })
  }

  /** Waits for what is under way, within bounds; what is left then is counted as failed. */
  async stop(): Promise<void> {
    const timer = setTimeout(() => this.#stopping.abort(), STOP_TIMEOUT_MS)
    while (this.#running.size > 0) await Promise.all(this.#running)
    clearTimeout(timer)
  }

  add(call: ThreadCall): void {
    const bytes = sizeOf(call)
    if (this.#waiting.length >= WAITING_MAX || this.#bytes + bytes > WAITING_BYTES_MAX) {
      this.#components.metrics.appended('dropped')
      this.#components.log.warn(
        { thread: call.thread },
        'messages of a call not appended: too many',
      )
      return
    }
    this.#bytes += bytes
    this.#waiting.push(call)
    this.#next()
  }

  #next(): void {
    while (this.#running.size < WORKERS_MAX) {
      // In the order of the calls: the next of the same thread waits for the one before.
      const index = this.#waiting.findIndex(({ thread }) => !this.#busy.has(thread))
      if (index === -1) return
      const [call] = this.#waiting.splice(index, 1)
      this.#busy.add(call!.thread)
      const work = this.#append(call!).finally(() => {
        this.#bytes -= sizeOf(call!)
        this.#busy.delete(call!.thread)
        this.#running.delete(work)
        this.#next()
      })
      this.#running.add(work)
    }
  }

  async #append(call: ThreadCall): Promise<void> {
    const { threads, metrics, log } = this.#components
    const { thread, token, author } = call
    const { signal } = this.#stopping
    const messages = readMessages(call)
    if (!messages) {
      metrics.appended('failed')
      log.warn({ thread }, 'messages of a call not appended: its body is no JSON')
      return
    }
    for (let attempt = 1; ; attempt += 1) {
      try {
        if (messages.length > 0) {
          await threads.append(thread, messages, { token, author, create: true, signal })
        }
        metrics.appended('appended')
        return
      } catch (error) {
        if (attempt < ATTEMPTS_MAX && !signal.aborted) {
          await pause(this.#pauseMs * 2 ** (attempt - 1), signal)
          continue
        }
        metrics.appended('failed')
        log.error({ err: error, thread }, 'messages of a call not appended to its thread')
        return
      }
    }
  }
}

/** Null for a body that the upstream took although it is no JSON. */
function readMessages({ requestBody, answer, exchange }: ThreadCall): NewMessage[] | null {
  let request: unknown
  try {
    request = JSON.parse(requestBody.toString())
  } catch {
    // The error would quote the body.
    return null
  }
  return messagesOf(request, answer, exchange === null ? [] : [exchange])
}

function sizeOf({ requestBody, answer }: ThreadCall): number {
  return requestBody.length + answer.bytes.length
}
