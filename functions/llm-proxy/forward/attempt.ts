import type { IncomingHttpHeaders } from 'node:http'

import type { Dispatcher } from 'undici'

import { REFUSED_BYTES_MAX } from '../constants.ts'

/** How one call of an upstream ended. */
export type AttemptResult =
  | { kind: 'done' }
  /** The caller has seen the begin of an answer that will have no end. */
  | { kind: 'broken'; error: Error }
  /** Nothing of an answer was seen. */
  | { kind: 'failed'; error: Error }
  /** There was an answer that somebody else may do better. */
  | { kind: 'refused'; status: number; headers: IncomingHttpHeaders }

/** What is done with an answer. */
export interface AnswerSink {
  /** False leaves the answer alone: another upstream is asked. */
  accepts(status: number, headers: IncomingHttpHeaders): boolean
  /** Called with the first byte, or at the end of an answer without any. */
  begin(status: number, headers: IncomingHttpHeaders): void
  /** False when nothing more is taken until `resume` is called. */
  data(chunk: Buffer, resume: () => void): boolean
  /** @throws when the answer is not whole although the connection says so */
  end(): void
}

/** One request to one upstream, with the answer streamed into a sink. */
export class Attempt implements Dispatcher.DispatchHandler {
  readonly result: Promise<AttemptResult>
  readonly #sink: AnswerSink
  #settle!: (result: AttemptResult) => void
  #controller: Dispatcher.DispatchController | null = null
  #aborted: Error | null = null
  #status = 0
  #headers: IncomingHttpHeaders = {}
  #begun = false
  #isSettled = false
  #droppedBytes = 0

  constructor(sink: AnswerSink) {
    this.#sink = sink
    this.result = new Promise((resolve) => (this.#settle = resolve))
  }

  /** Ends it at once, at the upstream too. */
  abort(reason: Error): void {
    this.#aborted = reason
    this.#controller?.abort(reason)
    this.#finish({ kind: this.#begun ? 'broken' : 'failed', error: reason })
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#aborted) controller.abort(this.#aborted)
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    // 100 and 103 come before the answer.
    if (status < 200) return
    this.#controller = controller
    this.#status = status
    this.#headers = headers
    if (!this.#sink.accepts(status, headers)) this.#finish({ kind: 'refused', status, headers })
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#isSettled) {
      this.#droppedBytes += chunk.length
      if (this.#droppedBytes > REFUSED_BYTES_MAX) controller.abort(new Error('Answer not taken.'))
      return
    }
    this.#begin()
    if (!this.#sink.data(chunk, () => controller.resume())) controller.pause()
  }

  onResponseEnd(): void {
    if (this.#isSettled) return
    this.#begin()
    try {
      this.#sink.end()
      this.#finish({ kind: 'done' })
    } catch (error) {
      this.#finish({ kind: 'broken', error: error as Error })
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#finish({ kind: this.#begun ? 'broken' : 'failed', error })
  }

  #begin(): void {
    if (this.#begun) return
    this.#begun = true
    this.#sink.begin(this.#status, this.#headers)
  }

  #finish(result: AttemptResult): void {
    this.#isSettled = true
    this.#settle(result)
  }
}
