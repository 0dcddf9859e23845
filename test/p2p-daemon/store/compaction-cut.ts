import { expect } from 'vitest'

import { FaultyFiles } from './faulty-files.ts'
import { blobOf } from './random.ts'
import { StoreFixture } from './store-fixture.ts'

export const SEGMENT = 20_000

/** Blobs 0-39 of 1 to 5 KB, every third deleted, two loose ones, one of them deleted. */
export async function fill(
  fixture: StoreFixture,
): Promise<{ live: Map<string, Buffer>; dead: string[] }> {
  const live = new Map<string, Buffer>()
  const dead: string[] = []
  for (let id = 0; id < 42; id += 1) {
    const bytes = blobOf(id, id < 40 ? 1000 + (id % 5) * 1000 : 1_200_000 + id)
    live.set((await fixture.store.put(bytes)).hash, bytes)
  }
  for (const [at, hash] of [...live.keys()].entries()) {
    if (at % 3 !== 0 && at !== 40) continue
    await fixture.store.delete(hash)
    live.delete(hash)
    dead.push(hash)
  }
  return { live, dead }
}

export async function check(
  fixture: StoreFixture,
  { live, dead }: { live: Map<string, Buffer>; dead: string[] },
): Promise<void> {
  for (const [hash, bytes] of live) expect((await fixture.read(hash)).equals(bytes)).toBe(true)
  for (const hash of dead) expect(await fixture.store.stat(hash)).toBeUndefined()
  expect((await fixture.store.usage()).blobs).toBe(live.size)
}

/**
 * A compaction in which every step from `step` on fails, cleaning up included, as if the power
 * was off. Resolves to true when the compaction needed fewer steps.
 */
export async function cutCompaction(step: number, withoutIndex: boolean): Promise<boolean> {
  const files = new FaultyFiles()
  await using fixture = await StoreFixture.open({ files }, { segmentBytesMax: SEGMENT })
  const blobs = await fill(fixture)
  let taken = 0
  files.fault = () => {
    taken += 1
    return taken > step ? 'EIO' : undefined
  }
  const ended = await fixture.store.compact({ garbageShareMin: 0.01 }).then(
    () => true,
    () => false,
  )
  await fixture.stop()
  files.fault = () => undefined
  await fixture.restart({ withoutIndex })
  await check(fixture, blobs)
  await fixture.store.compact({ garbageShareMin: 0.01 })
  await check(fixture, blobs)
  return ended
}
