import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'

import { DiskStore } from '../../p2p-daemon/store/disk-store.ts'

/** What the child of a test says when it is done. */
export interface StoreChildReport {
  blobs: number
  seconds: number
  memoryPeakMiB: number
}

const PUTS_AT_ONCE = 512

/** Small as the messages of a thread are. */
const BYTES_MIN = 100
const BYTES_MAX = 300

/**
 * `fill <dataDir> <count>` puts that many small blobs, `list <dataDir>` walks over all of them:
 * the store alone, in a process of its own, so that its memory can be measured.
 */
const [work, dataDir, count] = process.argv.slice(2) as [string, string, string]
const store = new DiskStore({}, { dataDir })
const sinceMs = performance.now()
await store.start()
const blobs = work === 'fill' ? await fill(Number(count)) : await list()
await store.stop()
const report: StoreChildReport = {
  blobs,
  seconds: (performance.now() - sinceMs) / 1000,
  memoryPeakMiB: await memoryPeakMiB(),
}
process.send?.(report, () => process.disconnect?.())

async function fill(wanted: number): Promise<number> {
  let begun = 0
  const writer = async (): Promise<void> => {
    while (begun < wanted) {
      begun += 1
      const size = BYTES_MIN + Math.floor(Math.random() * (BYTES_MAX - BYTES_MIN))
      await store.put(randomBytes(size))
    }
  }
  await Promise.all(Array.from({ length: PUTS_AT_ONCE }, writer))
  return begun
}

async function list(): Promise<number> {
  let listed = 0
  for await (const _ of store.list()) listed += 1
  return listed
}

async function memoryPeakMiB(): Promise<number> {
  const status = await readFile('/proc/self/status', 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024
}
