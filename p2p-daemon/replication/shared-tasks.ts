interface Running<T> {
  result: Promise<T>
  controller: AbortController
  waiting: number
}

/**
 * Runs a task once for all who ask for the same key at the same time. A caller that leaves only
 * leaves: the task goes on for the others and is aborted when the last one has gone.
 */
export class SharedTasks<T> {
  readonly #running = new Map<string, Running<T>>()

  async run(
    key: string,
    task: (signal: AbortSignal) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    signal?.throwIfAborted()
    const running = this.#running.get(key) ?? this.#start(key, task)
    running.waiting += 1
    try {
      return await unlessAborted(running.result, signal)
    } finally {
      running.waiting -= 1
      if (running.waiting === 0) {
        this.#forget(key, running)
        running.controller.abort(new Error('Nobody waits for it any more.'))
      }
    }
  }

  #start(key: string, task: (signal: AbortSignal) => Promise<T>): Running<T> {
    const controller = new AbortController()
    const result = task(controller.signal)
    const running: Running<T> = { result, controller, waiting: 0 }
    this.#running.set(key, running)
    // Who asks after the end starts anew, who asks after an abort must not join what is aborted.
    const forget = (): void => this.#forget(key, running)
    result.then(forget, forget)
    return running
  }

  #forget(key: string, running: Running<T>): void {
    if (this.#running.get(key) === running) this.#running.delete(key)
  }
}

/** The result, or the reason of the abort when that comes first. */
export async function unlessAborted<T>(result: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return result
  signal.throwIfAborted()
  let onAbort: () => void = () => undefined
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => reject(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([result, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
