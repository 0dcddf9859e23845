import { cp, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { DiskStore } from '../../../p2p-daemon/store/disk-store.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { collect } from '../../suites/blob-store.ts'
import { blobOf, seeded } from './random.ts'
import { PowerCut, SimulatedDisk } from './simulated-disk.ts'

interface Known {
  bytes: Buffer
  /** stored: acknowledged. gone: its deletion was. either: cut before an answer. */
  state: 'stored' | 'gone' | 'either'
}

const SIZES = [0, 300, 5000, 40_000, 70_000, 1_100_000]
const POWER_CUTS = 4

/**
 * One life of a store with several power cuts at random points, each in the middle of puts,
 * deletes and compactions. From cut to cut the index is
 * kept, lost, or back to an older state. Throws when an
 * acknowledged blob is not there, an acknowledged deletion is undone, or bytes are wrong.
 */
export async function livePowerCuts(seed: number, dataDir: string): Promise<void> {
  const random = seeded(seed)
  const disk = new SimulatedDisk(random, dataDir)
  const indexDir = join(dataDir, 'blobs', 'index')
  const olderDir = join(dataDir, 'older-index')
  await mkdir(indexDir, { recursive: true })
  const known = new Map<string, Known>()
  for (let id = 0; id < 12; id += 1) {
    // Some lives have small blobs alone: large ones sync more than the small ones need.
    const sizes = seed % 3 === 0 ? SIZES.slice(0, 4) : SIZES
    const bytes = blobOf(id + seed * 100, sizes[id % sizes.length] as number)
    known.set(hashBytes(bytes), { bytes, state: 'gone' })
  }
  for (let cut = 0; cut < POWER_CUTS; cut += 1) {
    const init = { dataDir, segmentBytesMax: 120_000, packBlobBytesMax: 65_536 }
    const store = new DiskStore({ files: disk }, init)
    await store.start()
    await checkAll(store, known)
    await rm(olderDir, { recursive: true, force: true })
    await cp(indexDir, olderDir, { recursive: true })
    let left = Math.floor(random() * 120)
    disk.beforeChange = () => {
      left -= 1
      if (left < 0) throw new PowerCut()
    }
    await liveUntilCut(store, known, random, () => left < 0)
    await store.stop().catch(() => undefined)
    disk.cutPower()
    disk.beforeChange = () => undefined
    const luck = random()
    if (luck < 0.3) continue
    await rm(indexDir, { recursive: true })
    if (luck < 0.6) await mkdir(indexDir)
    else await cp(olderDir, indexDir, { recursive: true })
  }
  const store = new DiskStore({ files: disk }, { dataDir })
  await store.start()
  await checkAll(store, known)
  await store.stop()
}

async function liveUntilCut(
  store: DiskStore,
  known: Map<string, Known>,
  random: () => number,
  isCut: () => boolean,
): Promise<void> {
  while (!isCut()) {
    const picks = [...known].filter(() => random() < 0.3)
    const work = picks.map(async ([hash, blob]) => {
      const deleting = random() < 0.4
      const before = blob.state
      blob.state = 'either'
      try {
        if (deleting) await store.delete(hash)
        else await store.put(blob.bytes)
        blob.state = deleting ? 'gone' : 'stored'
      } catch (error) {
        if (!isCut()) throw error
        if (before === (deleting ? 'gone' : 'stored')) blob.state = before
      }
    })
    if (random() < 0.2) work.push(store.compact({ garbageShareMin: 0.1 }).then(noop, ifCut(isCut)))
    await Promise.all(work)
  }
}

async function checkAll(store: DiskStore, known: Map<string, Known>): Promise<void> {
  for (const [hash, blob] of known) {
    const found = (await store.stat(hash)) !== undefined
    if (blob.state === 'stored' && !found) throw new Error(`${hash} was acknowledged and is lost`)
    if (blob.state === 'gone' && found) throw new Error(`${hash} was deleted and is back`)
    // What was never answered may show up later: its file can be there before its record is.
    if (!found) continue
    const bytes = await collect((await store.get(hash)).body)
    if (!bytes.equals(blob.bytes)) throw new Error(`${hash} has other bytes`)
    blob.state = 'stored'
  }
}

function noop(): void {}

function ifCut(isCut: () => boolean): (error: unknown) => void {
  return (error) => {
    if (!isCut()) throw error
  }
}
