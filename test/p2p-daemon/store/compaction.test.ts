import { open, readdir, stat } from 'node:fs/promises'

import { describe, expect, it } from 'vitest'

import { check, cutCompaction, fill, SEGMENT } from './compaction-cut.ts'
import { FaultyFiles } from './faulty-files.ts'
import { blobOf } from './random.ts'
import { StoreFixture } from './store-fixture.ts'

/** A few of about a hundred; test/faults walks through all. */
const STEPS = [0, 9, 27, 40, 55, 70, 85]

async function packBytes(fixture: StoreFixture): Promise<number> {
  let bytes = 0
  for (const pack of await fixture.packs()) bytes += (await stat(pack)).size
  return bytes
}

describe('pack compaction', () => {
  it('gives back the space of what was deleted, and keeps the rest', async () => {
    await using fixture = await StoreFixture.open({}, { segmentBytesMax: SEGMENT })
    const blobs = await fill(fixture)
    const before = await packBytes(fixture)
    const result = await fixture.store.compact({ garbageShareMin: 0.05 })
    const after = await packBytes(fixture)
    expect(result.segmentsRemoved).toBeGreaterThan(3)
    expect(before - after).toBe(result.reclaimedBytes)
    expect(result.reclaimedBytes).toBeGreaterThan(30_000)
    for (const withoutIndex of [false, true]) {
      await check(fixture, blobs)
      await fixture.restart({ withoutIndex })
    }
    await check(fixture, blobs)
  })

  it('leaves a store alone that has nothing to give back', async () => {
    await using fixture = await StoreFixture.open({}, { segmentBytesMax: SEGMENT })
    for (let id = 0; id < 30; id += 1) await fixture.store.put(blobOf(id, 3000))
    const before = await fixture.packs()
    expect(await fixture.store.compact()).toEqual({ segmentsRemoved: 0, reclaimedBytes: 0 })
    expect(await fixture.packs()).toEqual(before)
  })

  it('keeps no tombstone of a blob that is nowhere', async () => {
    await using fixture = await StoreFixture.open({}, { segmentBytesMax: SEGMENT })
    for (let round = 0; round < 6; round += 1) {
      for (let id = 0; id < 20; id += 1) await fixture.store.put(blobOf(id, 2000))
      for (let id = 0; id < 20; id += 1) {
        await fixture.store.delete((await fixture.store.put(blobOf(id, 2000))).hash)
      }
    }
    await fixture.restart()
    for (let round = 0; round < 4; round += 1) await fixture.store.compact()
    expect(await fixture.store.usage()).toEqual({ blobs: 0, bytes: 0 })
    expect(await packBytes(fixture)).toBeLessThan(2 * SEGMENT)
    await fixture.restart({ withoutIndex: true })
    expect(await fixture.store.usage()).toEqual({ blobs: 0, bytes: 0 })
  })

  it('goes on while blobs are put, read and deleted', async () => {
    await using fixture = await StoreFixture.open({}, { segmentBytesMax: SEGMENT })
    const { live, dead } = await fill(fixture)
    const compacting = fixture.store.compact({ garbageShareMin: 0.01 })
    for (let id = 100; id < 130; id += 1) {
      const bytes = blobOf(id, 2500)
      live.set((await fixture.store.put(bytes)).hash, bytes)
      const [oldest] = live.keys()
      await fixture.store.delete(oldest as string)
      live.delete(oldest as string)
      dead.push(oldest as string)
      for (const [hash, blob] of live) expect((await fixture.read(hash)).equals(blob)).toBe(true)
    }
    await compacting
    for (const withoutIndex of [false, true]) {
      await check(fixture, { live, dead })
      await fixture.restart({ withoutIndex })
    }
    await check(fixture, { live, dead })
  })

  it('saves a blob whose record header is damaged, and quarantines a damaged one', async () => {
    await using fixture = await StoreFixture.open({}, { segmentBytesMax: SEGMENT })
    const { live, dead } = await fill(fixture)
    const [first] = (await fixture.packs()) as [string]
    const file = await open(first, 'r+')
    const second = 128 + 64 + 1000
    await file.write(Buffer.from('x'), 0, 1, second)
    const fourth = second + 64 + 2000 + 64 + 3000 + 64 + 4000
    await file.write(Buffer.from('xx'), 0, 2, fourth + 64 + 50)
    await file.close()
    await fixture.store.compact({ garbageShareMin: 0.01 })
    expect(fixture.corrupt).toHaveLength(1)
    const lost = fixture.corrupt[0]?.hash as string
    expect(live.delete(lost)).toBe(true)
    expect(await readdir(fixture.path('quarantine'))).toHaveLength(2)
    await fixture.restart({ withoutIndex: true })
    await check(fixture, { live, dead: [...dead, lost] })
  })
})

describe('pack compaction that is cut short', () => {
  it.each(STEPS)('loses nothing when every step from %i on fails', async (step) => {
    for (const withoutIndex of [false, true]) await cutCompaction(step, withoutIndex)
  })

  it('does not bring a blob back that was deleted after its copy was made', async () => {
    const files = new FaultyFiles()
    await using fixture = await StoreFixture.open({ files }, { segmentBytesMax: SEGMENT })
    const { live, dead } = await fill(fixture)
    // The copy has its name, but the index has not moved.
    let renamed = false
    files.fault = (step, path) => {
      if (step === 'rename' && path.endsWith('.pack')) renamed = true
      return renamed && step === 'syncDirectory' ? 'EIO' : undefined
    }
    const refused = { code: 'BZZZ_STORAGE_UNAVAILABLE' }
    await expect(fixture.store.compact({ garbageShareMin: 0.01 })).rejects.toMatchObject(refused)
    files.fault = () => undefined
    for (const hash of [...live.keys()].slice(0, 20)) {
      await fixture.store.delete(hash)
      live.delete(hash)
      dead.push(hash)
    }
    await fixture.restart()
    await check(fixture, { live, dead })
    await fixture.store.compact({ garbageShareMin: 0.01 })
    await fixture.restart({ withoutIndex: true })
    await check(fixture, { live, dead })
  })
})
