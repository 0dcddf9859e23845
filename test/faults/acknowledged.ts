import { PACK_BLOB_BYTES_MAX } from '../../p2p-daemon/store/constants.ts'
import { hashBytes } from '../../shared/blob/hash.ts'
import { KiB, MiB } from '../../shared/limits.ts'
import { blobOf } from '../p2p-daemon/store/random.ts'
import type { BlobClient, Read } from './blob-client.ts'
import type { FaultRow } from './rounds.ts'

/** Reads of a check at a time. */
const READERS = 8

/** The size up to which the store packs blobs; both sides of it must be met. */
const THRESHOLD = PACK_BLOB_BYTES_MAX

/** Mostly small, some around the threshold, few large: what agents store. */
export function randomSize(random: () => number): number {
  const kind = random()
  if (kind < 0.02) return 0
  if (kind < 0.55) return Math.floor(random() * 4 * KiB)
  if (kind < 0.85) return Math.floor(random() * 64 * KiB)
  if (kind < 0.95) return THRESHOLD - 2 + Math.floor(random() * 5)
  return Math.floor(random() * 2 * MiB)
}

/** What a cluster answered for, and whether it still keeps its word. */
export class Acknowledged {
  readonly #random: () => number
  readonly #row: FaultRow
  /** In the order in which they were acknowledged; an empty blob comes more than once. */
  readonly #hashes = new Set<string>()
  /** Sent without an answer: they may be there, but never with other bytes. */
  readonly #unsure: string[] = []
  #nextId: number
  #onNext: () => void = () => undefined
  /** While false, an answer is worth no more than none. */
  trusting = true

  constructor(row: FaultRow, random: () => number) {
    this.#row = row
    this.#random = random
    // Blobs of another seed are other blobs.
    this.#nextId = row.seed * 1_000_000
  }

  get count(): number {
    return this.#hashes.size
  }

  get hashes(): string[] {
    return [...this.#hashes]
  }

  /** One put of a new blob; false when it was refused or the connection broke. */
  async put(client: BlobClient, sizeBytes = randomSize(this.#random), ack?: string) {
    const bytes = blobOf((this.#nextId += 1), sizeBytes)
    const hash = hashBytes(bytes)
    const answer = await client.put(bytes, ack).catch(() => undefined)
    if (this.trusting && answer && answer.status < 300) {
      this.#hashes.add(hash)
      this.#onNext()
    } else {
      this.#unsure.push(hash)
    }
    return { hash, answer }
  }

  /** Resolves when one more is acknowledged. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#onNext = resolve
    })
  }

  /** Puts until the daemon is gone, or `signal` says so. */
  async write(client: BlobClient, writers: number, signal: AbortSignal): Promise<void> {
    const one = async (): Promise<void> => {
      while (!signal.aborted) {
        const { answer } = await this.put(client)
        if (answer === undefined) return
      }
    }
    await Promise.all(Array.from({ length: writers }, one))
  }

  /** Reads the last `newest` acknowledged ones and `others` random ones, and counts. */
  async checkSome(client: BlobClient, newest: number, others: number): Promise<void> {
    const { hashes } = this
    const some = new Set(hashes.slice(-newest))
    for (let pick = 0; pick < others && hashes.length > 0; pick += 1) {
      some.add(hashes[Math.floor(this.#random() * hashes.length)]!)
    }
    await this.#check(client, [...some])
  }

  async checkAll(client: BlobClient): Promise<void> {
    await this.#check(client, this.hashes)
  }

  async #check(client: BlobClient, hashes: readonly string[]): Promise<void> {
    for (const [hash, read] of await readAll(client, hashes)) {
      if (read === 'good') continue
      console.log(`${this.#row.fault}: acknowledged ${hash}: ${JSON.stringify(read)}`)
      if (read === 'wrong') this.#row.wrong += 1
      else this.#row.lost += 1
    }
    const unsure = await readAll(client, this.#unsure.splice(0))
    this.#row.wrong += [...unsure.values()].filter((read) => read === 'wrong').length
  }
}

/** A few at a time; a body that breaks off counts as status 0. */
export async function readAll(
  client: BlobClient,
  hashes: readonly string[],
): Promise<Map<string, Read>> {
  const reads = new Map<string, Read>()
  const waiting = hashes.values()
  const reader = async (): Promise<void> => {
    for (const hash of waiting) {
      const broken = (error: unknown): Read => ({ status: 0, code: String(error) })
      reads.set(hash, await client.read(hash).catch(broken))
    }
  }
  await Promise.all(Array.from({ length: READERS }, reader))
  return reads
}
