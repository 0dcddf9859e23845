import { readdir } from 'node:fs/promises'

import { describe, expect, it, vi } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import { type Fault, FaultyFiles } from './faulty-files.ts'
import { blobOf } from './random.ts'
import { StoreFixture } from './store-fixture.ts'

const UNAVAILABLE = { code: 'BZZZ_STORAGE_UNAVAILABLE' }
const SMALL = blobOf(1, 3000)
const LARGE = blobOf(2, 2_300_000)

async function openFaulty(): Promise<{ files: FaultyFiles; fixture: StoreFixture }> {
  const files = new FaultyFiles()
  return { files, fixture: await StoreFixture.open({ files }, { probeIntervalMs: 5 }) }
}

async function recovered(fixture: StoreFixture): Promise<void> {
  await vi.waitFor(() => expect(fixture.store.health().writable).toBe(true), { interval: 5 })
}

/** Fails every step that matches until it is told to stop. */
function failing(steps: readonly string[], code: string, part = ''): Fault {
  return (step, path) => (steps.includes(step) && path.includes(part) ? code : undefined)
}

const CASES: { name: string; blob: Buffer; steps: string[]; code: string; part?: string }[] = [
  { name: 'a full disk under a pack write', blob: SMALL, steps: ['write'], code: 'ENOSPC' },
  { name: 'a short pack write', blob: SMALL, steps: ['write'], code: 'short' },
  { name: 'a failed pack sync', blob: SMALL, steps: ['datasync'], code: 'EIO' },
  { name: 'a read-only file system', blob: SMALL, steps: ['write', 'create'], code: 'EROFS' },
  { name: 'a full disk under a new file', blob: LARGE, steps: ['create'], code: 'ENOSPC' },
  { name: 'a full disk under a file write', blob: LARGE, steps: ['write'], code: 'ENOSPC' },
  { name: 'a short file write', blob: LARGE, steps: ['write'], code: 'short' },
  { name: 'a failed file sync', blob: LARGE, steps: ['datasync'], code: 'EIO' },
  { name: 'a quota under a shard', blob: LARGE, steps: ['makeDirectory'], code: 'EDQUOT' },
  { name: 'a failed rename', blob: LARGE, steps: ['rename'], code: 'EIO', part: 'data' },
  { name: 'a failed sync of a shard', blob: LARGE, steps: ['syncDirectory'], code: 'EIO' },
  { name: 'a lost record', blob: LARGE, steps: ['write'], code: 'ENOSPC', part: '.pack' },
]

describe('disk-store on a failing disk', () => {
  it.each(CASES)('turns read-only and recovers from $name', async ({ blob, steps, code, part }) => {
    const { files, fixture } = await openFaulty()
    await using _ = fixture
    const before = (await fixture.store.put(blobOf(3, 9000))).hash
    const loose = (await fixture.store.put(blobOf(4, 1_500_000))).hash
    const hash = hashBytes(blob)

    files.fault = failing(steps, code, part)
    await expect(fixture.store.put(blob)).rejects.toMatchObject(UNAVAILABLE)
    expect(fixture.store.health()).toMatchObject({ writable: false })
    expect(fixture.store.health().reason).toMatch(/disk|file system/)
    await expect(fixture.store.put(blobOf(5, 10))).rejects.toMatchObject(UNAVAILABLE)
    await expect(fixture.store.delete(before)).rejects.toMatchObject(UNAVAILABLE)
    expect(await fixture.store.stat(hash)).toBeUndefined()
    expect((await fixture.read(before)).byteLength).toBe(9000)
    expect((await fixture.read(loose)).byteLength).toBe(1_500_000)

    files.fault = () => undefined
    await recovered(fixture)
    expect(await fixture.store.put(blob)).toMatchObject({ hash, existed: false })
    for (const withoutIndex of [false, true]) {
      await fixture.restart({ withoutIndex })
      expect((await fixture.read(hash)).equals(blob)).toBe(true)
      expect((await fixture.read(before)).byteLength).toBe(9000)
      expect((await fixture.read(loose)).byteLength).toBe(1_500_000)
    }
    expect(await readdir(fixture.path('temp'))).toEqual([])
    expect(fixture.corrupt).toEqual([])
  })

  it('fails a large put when a sync on the way failed and later ones do not', async () => {
    const { files, fixture } = await openFaulty()
    await using _ = fixture
    const blob = blobOf(6, 24_000_000)
    let syncs = 0
    files.fault = (step, path) => {
      if (step !== 'datasync' || !path.endsWith('.part')) return undefined
      syncs += 1
      return syncs === 1 ? 'EIO' : undefined
    }
    await expect(fixture.store.put(blob)).rejects.toMatchObject(UNAVAILABLE)
    files.fault = () => undefined
    await recovered(fixture)
    expect(await fixture.store.stat(hashBytes(blob))).toBeUndefined()
    expect(await readdir(fixture.path('temp'))).toEqual([])
  })

  it('stays read-only while the probe fails', async () => {
    const { files, fixture } = await openFaulty()
    await using _ = fixture
    files.fault = failing(['write'], 'ENOSPC')
    await expect(fixture.store.put(SMALL)).rejects.toMatchObject(UNAVAILABLE)
    const probes = () => files.steps.filter(({ path }) => path.endsWith('probe')).length
    const seen = probes()
    await vi.waitFor(() => expect(probes()).toBeGreaterThan(seen + 6), { interval: 5 })
    expect(fixture.store.health()).toMatchObject({ writable: false, reason: 'the disk is full' })
  })

  it('acknowledges none of a batch whose sync failed, and writes the segment no more', async () => {
    const { files, fixture } = await openFaulty()
    await using _ = fixture
    await fixture.store.put(blobOf(0, 100))
    files.fault = failing(['datasync', 'truncate'], 'EIO')
    const puts = Array.from({ length: 10 }, (_, id) => fixture.store.put(blobOf(10 + id, 500)))
    for (const put of await Promise.allSettled(puts)) expect(put).toMatchObject(rejected())
    const [bad] = (await fixture.packs()) as [string]
    files.fault = () => undefined
    await recovered(fixture)
    files.steps.length = 0
    await fixture.store.put(blobOf(30, 500))
    expect(files.steps.filter(({ step, path }) => step === 'write' && path === bad)).toEqual([])
    // The batch is on the disk of the bad segment, in full; the cut in the next one hides it.
    for (const withoutIndex of [false, true]) {
      await fixture.restart({ withoutIndex })
      expect((await fixture.store.usage()).blobs).toBe(2)
    }
  })

  it('does not let a deletion that failed come true after a put', async () => {
    const { files, fixture } = await openFaulty()
    await using _ = fixture
    const { hash } = await fixture.store.put(SMALL)
    files.fault = failing(['datasync', 'truncate'], 'EIO')
    await expect(fixture.store.delete(hash)).rejects.toMatchObject(UNAVAILABLE)
    files.fault = () => undefined
    await recovered(fixture)
    expect((await fixture.store.put(SMALL)).existed).toBe(true)
    await fixture.restart({ withoutIndex: true })
    expect((await fixture.read(hash)).equals(SMALL)).toBe(true)
  })

  it('answers reads that the disk refuses without condemning the blob', async () => {
    const { files, fixture } = await openFaulty()
    await using _ = fixture
    const { hash } = await fixture.store.put(LARGE)
    files.fault = failing(['open'], 'EMFILE')
    await expect(fixture.store.get(hash)).rejects.toMatchObject(UNAVAILABLE)
    files.fault = () => undefined
    expect((await fixture.read(hash)).equals(LARGE)).toBe(true)
  })

  it('treats bytes the disk cannot read as a bad copy', async () => {
    const { files, fixture } = await openFaulty()
    await using _ = fixture
    const small = (await fixture.store.put(SMALL)).hash
    const large = (await fixture.store.put(LARGE)).hash
    files.fault = failing(['read'], 'EIO')
    for (const hash of [small, large]) {
      await expect(fixture.store.get(hash)).rejects.toMatchObject({ code: 'BZZZ_BLOB_CORRUPT' })
    }
    expect(fixture.corrupt.map(({ hash }) => hash)).toEqual([small, large])
  })

  it('does not serve a bad copy it cannot move away', async () => {
    const { files, fixture } = await openFaulty()
    await using _ = fixture
    const { hash } = await fixture.store.put(LARGE)
    files.fault = failing(['read', 'rename', 'write', 'create'], 'EIO')
    await expect(fixture.store.get(hash)).rejects.toMatchObject({ code: 'BZZZ_BLOB_CORRUPT' })
    files.fault = () => undefined
    await expect(fixture.store.get(hash)).rejects.toMatchObject({ code: 'BZZZ_BLOB_NOT_FOUND' })
  })
})

function rejected(): object {
  return { status: 'rejected', reason: UNAVAILABLE }
}
