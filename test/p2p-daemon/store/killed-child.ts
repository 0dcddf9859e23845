import { writeSync } from 'node:fs'

import { DiskStore } from '../../../p2p-daemon/store/disk-store.ts'
import { blobOf, seeded } from './random.ts'

/**
 * Puts, deletes and compacts until it is killed. Every answer goes to stdout in one write before
 * anything else happens: `p <id> <size>` for a put, `d <id> <size>` for a deletion.
 */
const [dataDir, seedText] = process.argv.slice(2) as [string, string]
const seed = Number(seedText)
const random = seeded(seed)
const SIZES = [50, 1000, 20_000, 200_000, 400_000, 1_500_000]
const WRITERS = 16

const store = new DiskStore({}, { dataDir, segmentBytesMax: 1_000_000 })
await store.start()
let nextId = seed * 1_000_000

async function write(): Promise<void> {
  const stored: { id: number; size: number; hash: string }[] = []
  for (;;) {
    nextId += 1
    const id = nextId
    const size = SIZES[Math.floor(random() ** 2 * SIZES.length)] as number
    const { hash } = await store.put(blobOf(id, size))
    writeSync(1, `p ${id} ${size}\n`)
    stored.push({ id, size, hash })
    const victim = random() < 0.4 ? stored.shift() : undefined
    if (victim === undefined) continue
    writeSync(1, `s ${victim.id} ${victim.size}\n`)
    await store.delete(victim.hash)
    writeSync(1, `d ${victim.id} ${victim.size}\n`)
  }
}

async function compact(): Promise<void> {
  for (;;) {
    await store.compact({ garbageShareMin: 0.1 })
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

await Promise.all([...Array.from({ length: WRITERS }, write), compact()])
