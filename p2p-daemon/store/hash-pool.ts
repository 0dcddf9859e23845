import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'

import { hashBytes } from '../../shared/blob/hash.ts'
import { StorageUnavailableError } from '../../shared/errors.ts'
import { HASH_OFF_THREAD_BYTES_MIN, HASH_WORKERS_MAX } from './constants.ts'
import type { HashAnswer, HashRequest } from './hash-worker.ts'

export interface Hashed {
  hash: string
  /** The same bytes; those given must not be used any more. */
  bytes: Buffer
}

interface Waiting {
  resolve: (answer: HashAnswer) => void
  reject: (error: Error) => void
}

/** One thread that hashes, started when it is first needed. */
class HashThread {
  readonly #waiting = new Map<number, Waiting>()
  #worker: Worker | undefined
  #lastId = 0

  get load(): number {
    return this.#waiting.size
  }

  ask(buffer: ArrayBuffer, length: number): Promise<HashAnswer> {
    const worker = (this.#worker ??= this.#start())
    const request: HashRequest = { id: (this.#lastId += 1), buffer, length }
    // The process waits for answers, not for an idle thread.
    worker.ref()
    return new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { resolve, reject })
      worker.postMessage(request, [buffer])
    })
  }

  async stop(): Promise<void> {
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
  }

  #start(): Worker {
    const worker = new Worker(new URL('hash-worker.ts', import.meta.url))
    worker.on('message', (answer: HashAnswer) => {
      this.#waiting.get(answer.id)?.resolve(answer)
      this.#waiting.delete(answer.id)
      if (this.#waiting.size === 0) worker.unref()
    })
    worker.on('error', () => undefined)
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined
      for (const { reject } of this.#waiting.values())
        reject(new StorageUnavailableError('The store is stopped.'))
      this.#waiting.clear()
    })
    return worker
  }
}

/**
 * Hashes large buffers on other threads: 1 MiB takes a quarter of a millisecond, which would be
 * most of the time of a get and hold everything else of the process up meanwhile. Small ones are
 * hashed at once, the way to another thread and back would take longer.
 */
export class HashPool {
  readonly #threads: HashThread[]

  constructor() {
    const count = Math.min(availableParallelism(), HASH_WORKERS_MAX)
    this.#threads = Array.from({ length: count }, () => new HashThread())
  }

  /** Not a promise when the answer is there at once. */
  hash(bytes: Buffer): Hashed | Promise<Hashed> {
    if (bytes.byteLength < HASH_OFF_THREAD_BYTES_MIN) return { hash: hashBytes(bytes), bytes }
    const { buffer, byteOffset, byteLength } = bytes
    // A view of something larger stays here: the rest of it would move away too.
    const movable = buffer instanceof ArrayBuffer && byteOffset === 0
    const alone = movable && buffer.byteLength < 2 * byteLength
    return alone ? this.#ask(buffer, byteLength) : { hash: hashBytes(bytes), bytes }
  }

  async #ask(buffer: ArrayBuffer, length: number): Promise<Hashed> {
    const [first, ...rest] = this.#threads
    let idlest = first as HashThread
    for (const thread of rest) if (thread.load < idlest.load) idlest = thread
    const answer = await idlest.ask(buffer, length)
    return { hash: answer.hash, bytes: Buffer.from(answer.buffer, 0, length) }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.stop()))
  }
}
