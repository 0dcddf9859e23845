import { createHasher, type BlobHasher } from '../../shared/blob/hash.ts'
import type { Work } from './payload.ts'

/**
 * Checks blobs that arrive one after the other in pieces of any size, hashing each piece where
 * it lies: the least a receiver can do.
 */
export class Arrival {
  readonly done: Promise<void>
  readonly #work: Work
  readonly #settled = Promise.withResolvers<void>()
  #place = 0
  #left: number
  #hasher: BlobHasher = createHasher()

  constructor(work: Work) {
    this.#work = work
    this.#left = work.blobs[0]?.length ?? 0
    this.done = this.#settled.promise
  }

  push(bytes: Uint8Array): void {
    for (let offset = 0; offset < bytes.length;) {
      const taken = Math.min(this.#left, bytes.length - offset)
      this.#hasher.update(bytes.subarray(offset, offset + taken))
      offset += taken
      this.#left -= taken
      if (this.#left === 0) this.#next()
    }
  }

  fail(error: Error): void {
    this.#settled.reject(error)
  }

  #next(): void {
    const blob = this.#work.blobs[this.#place]
    if (blob?.hash !== this.#hasher.digestHex()) this.fail(new Error('Other bytes arrived.'))
    this.#place += 1
    this.#left = this.#work.blobs[this.#place]?.length ?? 0
    this.#hasher = createHasher()
    if (this.#place === this.#work.blobs.length) this.#settled.resolve()
  }
}
