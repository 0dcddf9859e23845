import { OverloadedError } from '../errors.ts'
import { APPEND_MESSAGES_MAX, COMMIT_BYTES_MAX, WAITING_APPENDS_MAX } from './constants.ts'
import type { PreparedMessage } from './new-message.ts'

export interface AppendedItem {
  hash: string
  seq: number
  /** A message with this key was there already. */
  existed: boolean
}

export interface Appended {
  items: AppendedItem[]
  head: { version: number; seq: number; messages: number }
}

/** One call of append that waits for its turn. */
export interface WaitingAppend {
  messages: readonly PreparedMessage[]
  bytes: number
  token: string
  signal: AbortSignal | undefined
  resolve: (appended: Appended) => void
  reject: (error: unknown) => void
}

/** Calls that wait for the next version of a thread's head. */
export class AppendQueue {
  #waiting: WaitingAppend[] = []

  get length(): number {
    return this.#waiting.length
  }

  /** @throws OverloadedError */
  add(waiting: WaitingAppend): void {
    if (this.#waiting.length >= WAITING_APPENDS_MAX) {
      throw new OverloadedError('Too many messages wait for this thread.', 1)
    }
    this.#waiting.push(waiting)
  }

  /** The oldest that make one version. Those whose caller has left are answered here. */
  take(): WaitingAppend[] {
    const taken: WaitingAppend[] = []
    let count = 0
    let bytes = 0
    let at = 0
    for (; at < this.#waiting.length; at += 1) {
      const next = this.#waiting[at]!
      if (next.signal?.aborted) {
        next.reject(next.signal.reason)
        continue
      }
      const isFull =
        count + next.messages.length > APPEND_MESSAGES_MAX || bytes + next.bytes > COMMIT_BYTES_MAX
      if (taken.length > 0 && isFull) break
      taken.push(next)
      count += next.messages.length
      bytes += next.bytes
    }
    this.#waiting = this.#waiting.slice(at)
    return taken
  }
}
