import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { median } from '../row.ts'

/** Something that stores blobs under their hash: ours or a peer. */
export interface Contender {
  name: string
  put(bytes: Uint8Array): Promise<string>
  /** Resolves to the number of bytes that were read and, where the contender can, verified. */
  get(key: string): Promise<number>
  close(): Promise<void>
}

export async function withTempDir<T>(work: (path: string) => Promise<T>): Promise<T> {
  const path = await mkdtemp(join(tmpdir(), 'bzzz-bench-'))
  try {
    return await work(path)
  } finally {
    await rm(path, { recursive: true, force: true })
  }
}

export function randomBlobs(count: number, sizeBytes: number): Buffer[] {
  return Array.from({ length: count }, () => randomBytes(sizeBytes))
}

/** Runs `work` over the items with so many in flight at any time; resolves to the seconds taken. */
export async function timed<T>(
  items: readonly T[],
  inFlight: number,
  work: (item: T) => Promise<unknown>,
): Promise<number> {
  let next = 0
  const worker = async () => {
    while (next < items.length) {
      const item = items[next] as T
      next += 1
      await work(item)
    }
  }
  const startedMs = performance.now()
  await Promise.all(Array.from({ length: inFlight }, worker))
  return (performance.now() - startedMs) / 1000
}

/**
 * Every contender once a round, in an order that moves on from round to round, so that what one
 * leaves behind in the write-back of the disk falls on each of them. The median of the rounds,
 * without the first: what is compiled and filled then is not what is asked about.
 */
export async function interleaved(
  contenders: readonly Contender[],
  rounds: number,
  measure: (contender: Contender, round: number) => Promise<number>,
): Promise<Map<string, number>> {
  const rates = new Map<string, number[]>(contenders.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < contenders.length; turn += 1) {
      const contender = contenders[(turn + round) % contenders.length] as Contender
      const rate = await measure(contender, round)
      if (round > 0) rates.get(contender.name)?.push(rate)
    }
  }
  return new Map([...rates].map(([name, values]) => [name, median(values)]))
}
