import { OverloadedError } from '../../shared/errors.ts'
import { MARKS_MAX } from './constants.ts'

/** A table is made twice as large when it is fuller than this. */
const LOAD_MAX = 0.5

const SLOTS_FIRST = 2 ** 16

/** A collection that has too many marks will have as many a minute later. */
const RETRY_SECONDS = 3_600

/**
 * A set of hashes by their first 64 bits: 16 to 32 bytes of memory each, and no object. Two hashes
 * that share these bits are taken for one, which can only keep a blob too many.
 */
export class MarkSet {
  readonly #max: number
  /** Two halves of a fingerprint for each slot; zero and zero is an empty one. */
  #slots = new Uint32Array(2 * SLOTS_FIRST)
  #mask = SLOTS_FIRST - 1
  #size = 0

  constructor(init: { max?: number } = {}) {
    this.#max = init.max ?? MARKS_MAX
  }

  get size(): number {
    return this.#size
  }

  /** The hash that begins at `offset` of its raw bytes. */
  addBytes(bytes: Uint8Array, offset: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset + offset, 8)
    this.#add(view.getUint32(0), view.getUint32(4))
  }

  add(hash: string): void {
    this.#add(half(hash, 0), half(hash, 8))
  }

  has(hash: string): boolean {
    const [high, low] = [half(hash, 0), half(hash, 8)]
    const slot = this.#find(high, low)
    return isNothing(high, low) || !isNothing(this.#slots[slot]!, this.#slots[slot + 1]!)
  }

  #add(high: number, low: number): void {
    // The one fingerprint that looks like an empty slot counts as always there.
    if (isNothing(high, low)) return
    const slot = this.#find(high, low)
    if (!isNothing(this.#slots[slot]!, this.#slots[slot + 1]!)) return
    if (this.#size >= this.#max) {
      throw new OverloadedError(`A collection marks ${this.#max} blobs at most.`, RETRY_SECONDS)
    }
    this.#slots[slot] = high
    this.#slots[slot + 1] = low
    this.#size += 1
    if (this.#size > (this.#mask + 1) * LOAD_MAX) this.#grow()
  }

  /** Where the fingerprint is or belongs. BLAKE3 is uniform, so its own bits choose the slot. */
  #find(high: number, low: number): number {
    let index = (high ^ low) & this.#mask
    for (;;) {
      const slot = 2 * index
      const [there, rest] = [this.#slots[slot]!, this.#slots[slot + 1]!]
      if (isNothing(there, rest) || (there === high && rest === low)) return slot
      index = (index + 1) & this.#mask
    }
  }

  #grow(): void {
    const old = this.#slots
    this.#slots = new Uint32Array(2 * old.length)
    this.#mask = old.length - 1
    for (let slot = 0; slot < old.length; slot += 2) {
      const [high, low] = [old[slot]!, old[slot + 1]!]
      if (isNothing(high, low)) continue
      const target = this.#find(high, low)
      this.#slots[target] = high
      this.#slots[target + 1] = low
    }
  }
}

function half(hash: string, start: number): number {
  return Number.parseInt(hash.slice(start, start + 8), 16)
}

function isNothing(high: number, low: number): boolean {
  return high === 0 && low === 0
}
