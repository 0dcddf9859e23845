import { open, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'

import { describe, expect, it } from 'vitest'

import { Registry } from '../../../shared/metrics/metrics.ts'
import { createStoreMetrics } from '../../../p2p-daemon/store/store-metrics.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { blobOf } from './random.ts'
import { StoreFixture } from './store-fixture.ts'

const CHUNK = 1_048_576
const ABSENT = { code: 'BZZZ_BLOB_NOT_FOUND' }
const CORRUPT = { code: 'BZZZ_BLOB_CORRUPT' }

async function flip(path: string, at: number, mask = 1): Promise<void> {
  const file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, at)
  byte[0] = (byte[0] as number) ^ mask
  await file.write(byte, 0, 1, at)
  await file.close()
}

/** Right bytes, or one of the errors that say there are none; anything else fails the test. */
async function readOrRefuse(fixture: StoreFixture, hash: string): Promise<'right' | 'refused'> {
  try {
    const bytes = await fixture.read(hash)
    expect(hashBytes(bytes)).toBe(hash)
    return 'right'
  } catch (error) {
    expect(['BZZZ_BLOB_CORRUPT', 'BZZZ_BLOB_NOT_FOUND']).toContain((error as { code: string }).code)
    return 'refused'
  }
}

describe('disk-store with a damaged pack', () => {
  it('never serves a flipped bit, wherever it is', async () => {
    await using fixture = await StoreFixture.open()
    const blobs = [blobOf(1, 90), blobOf(2, 1), blobOf(3, 150)]
    const hashes: string[] = []
    for (const bytes of blobs) hashes.push((await fixture.store.put(bytes)).hash)
    const [pack] = (await fixture.packs()) as [string]
    const size = (await stat(pack)).size
    let refused = 0
    for (let at = 0; at < size; at += 1) {
      await flip(pack, at, 1 << (at % 8))
      for (const hash of hashes) if ((await readOrRefuse(fixture, hash)) === 'refused') refused += 1
      await flip(pack, at, 1 << (at % 8))
      for (const bytes of blobs) await fixture.store.put(bytes)
    }
    // Once a blob was put anew its first copy no longer counts, so each blob fails once.
    expect(refused).toBe(blobs.length)
    expect(fixture.corrupt.map(({ hash }) => hash).toSorted()).toEqual(hashes.toSorted())
  })

  it('never serves a flipped bit after a rebuild of the index', async () => {
    await using fixture = await StoreFixture.open()
    const blobs = [blobOf(1, 90), blobOf(2, 1), blobOf(3, 150)]
    for (const bytes of blobs) await fixture.store.put(bytes)
    await fixture.stop()
    const [pack] = (await fixture.packs()) as [string]
    const intact = await readFile(pack)
    let right = 0
    for (let at = 0; at < intact.byteLength; at += 17) {
      await writeFile(pack, intact)
      await flip(pack, at)
      await rm(fixture.path('index'), { recursive: true })
      await fixture.start()
      for (const bytes of blobs) {
        if ((await readOrRefuse(fixture, hashBytes(bytes))) === 'right') right += 1
      }
      await fixture.stop()
    }
    // A flip costs at most the blob whose record it hits.
    expect(right).toBeGreaterThanOrEqual(Math.floor(intact.byteLength / 17) * 2)
  })

  it('keeps the bad bytes with a note and takes the blob again', async () => {
    const registry = new Registry()
    const metrics = createStoreMetrics(registry)
    await using fixture = await StoreFixture.open({ metrics })
    const bytes = blobOf(1, 5000)
    const { hash } = await fixture.store.put(bytes)
    const [pack] = (await fixture.packs()) as [string]
    await flip(pack, 128 + 64 + 2500)
    const reads = await Promise.allSettled([1, 2, 3].map(() => fixture.store.get(hash)))
    // One of them finds the damage, for the others the copy is no longer there.
    const codes = reads.map((read) => (read.status === 'rejected' ? String(read.reason.code) : ''))
    expect(codes.toSorted()).toEqual([CORRUPT.code, ABSENT.code, ABSENT.code])
    expect(fixture.corrupt).toEqual([{ hash, reason: 'its bytes have another hash' }])
    const names = (await readdir(fixture.path('quarantine'))).toSorted()
    expect(names).toHaveLength(2)
    expect((await readFile(fixture.path('quarantine', names[0] as string))).byteLength).toBe(5000)
    const note = JSON.parse(await readFile(fixture.path('quarantine', names[1] as string), 'utf8'))
    expect(note).toMatchObject({ hash, reason: 'its bytes have another hash', segment: 1 })
    expect(await fixture.store.stat(hash)).toBeUndefined()
    expect((await fixture.store.put(bytes)).existed).toBe(false)
    expect((await fixture.read(hash)).equals(bytes)).toBe(true)
    await fixture.restart({ withoutIndex: true })
    expect((await fixture.read(hash)).equals(bytes)).toBe(true)
    expect(await registry.getSingleMetricAsString('bzzz_blob_corrupt_total')).toContain('_total 1')
  })

  it('stays gone after a restart until it is put again', async () => {
    await using fixture = await StoreFixture.open()
    const { hash } = await fixture.store.put(blobOf(1, 5000))
    await fixture.store.put(blobOf(2, 10))
    await flip(((await fixture.packs()) as [string])[0], 128 + 64 + 2500)
    expect(await fixture.store.verify(hash)).toBe(false)
    for (const withoutIndex of [false, true]) {
      await fixture.restart({ withoutIndex })
      await expect(fixture.store.get(hash)).rejects.toMatchObject({ code: 'BZZZ_BLOB_NOT_FOUND' })
    }
  })

  it('refuses a blob whose pack was cut short', async () => {
    await using fixture = await StoreFixture.open()
    const kept = (await fixture.store.put(blobOf(1, 5000))).hash
    const lost = (await fixture.store.put(blobOf(2, 5000))).hash
    const [pack] = (await fixture.packs()) as [string]
    await truncate(pack, (await stat(pack)).size - 1)
    await expect(fixture.store.get(lost)).rejects.toMatchObject(CORRUPT)
    expect((await fixture.read(kept)).byteLength).toBe(5000)
  })

  it('finds the records behind a damaged header', async () => {
    await using fixture = await StoreFixture.open()
    const lost = (await fixture.store.put(blobOf(1, 5000))).hash
    const behind = (await fixture.store.put(blobOf(2, 5000))).hash
    const [pack] = (await fixture.packs()) as [string]
    await flip(pack, 128 + 20)
    await fixture.restart()
    expect((await fixture.read(lost)).byteLength).toBe(5000)
    await fixture.restart({ withoutIndex: true })
    expect((await fixture.read(behind)).byteLength).toBe(5000)
    expect(await fixture.store.stat(lost)).toBeUndefined()
  })

  it('does not obey a tombstone that is the content of a blob', async () => {
    await using fixture = await StoreFixture.open()
    const victim = (await fixture.store.put(blobOf(1, 500))).hash
    await fixture.store.delete(victim)
    const [pack] = (await fixture.packs()) as [string]
    const tombstone = (await readFile(pack)).subarray(-64)
    await fixture.restart({ withoutIndex: true })
    await using other = await StoreFixture.open()
    await other.store.put(blobOf(1, 500))
    await other.store.put(tombstone)
    const [otherPack] = (await other.packs()) as [string]
    await flip(otherPack, 128 + 64 + 500 + 8)
    await other.restart({ withoutIndex: true })
    expect((await other.read(victim)).byteLength).toBe(500)
  })
})

describe('disk-store with a damaged loose blob', () => {
  const bytes = blobOf(9, 3 * CHUNK + 1000)

  it('serves the chunks that are good and no byte of a bad one', async () => {
    await using fixture = await StoreFixture.open()
    const { hash } = await fixture.store.put(bytes)
    await flip(fixture.loosePath(hash), 2 * CHUNK + 5)
    const early = { start: 10, end: 2 * CHUNK - 1 }
    expect((await fixture.read(hash, early)).equals(bytes.subarray(10, 2 * CHUNK))).toBe(true)
    const late = { start: 3 * CHUNK }
    expect((await fixture.read(hash, late)).equals(bytes.subarray(3 * CHUNK))).toBe(true)
    const seen: Uint8Array[] = []
    const reading = async () => {
      for await (const chunk of (await fixture.store.get(hash)).body) seen.push(chunk)
    }
    await expect(reading()).rejects.toMatchObject(CORRUPT)
    expect(Buffer.concat(seen).equals(bytes.subarray(0, 2 * CHUNK))).toBe(true)
    expect(fixture.corrupt).toEqual([{ hash, reason: 'chunk 2 has another hash' }])
    expect(await readdir(fixture.path('quarantine'))).toHaveLength(2)
    expect((await fixture.store.put(bytes)).existed).toBe(false)
    expect((await fixture.read(hash)).equals(bytes)).toBe(true)
  })

  it.each([0, CHUNK - 1, CHUNK, 3 * CHUNK + 999])('finds a flip at byte %i', async (at) => {
    await using fixture = await StoreFixture.open()
    const { hash } = await fixture.store.put(bytes)
    await flip(fixture.loosePath(hash), at, 128)
    const range = { start: at, end: at }
    await expect(fixture.store.get(hash, range)).rejects.toMatchObject(CORRUPT)
    expect(await fixture.store.stat(hash)).toBeUndefined()
  })

  it.each([0, 1, CHUNK, 3 * CHUNK + 999])('finds a cut to %i bytes', async (size) => {
    await using fixture = await StoreFixture.open()
    const { hash } = await fixture.store.put(bytes)
    await truncate(fixture.loosePath(hash), size)
    await expect(fixture.read(hash)).rejects.toMatchObject(CORRUPT)
    await expect(fixture.store.get(hash)).rejects.toMatchObject({ code: 'BZZZ_BLOB_NOT_FOUND' })
    await fixture.store.put(bytes)
    await truncate(fixture.loosePath(hash), size)
    expect(await fixture.store.verify(hash)).toBe(false)
  })

  it('finds bytes too many, and a file that is missing', async () => {
    await using fixture = await StoreFixture.open()
    const { hash } = await fixture.store.put(bytes)
    await truncate(fixture.loosePath(hash), bytes.byteLength + 1)
    expect(await fixture.store.verify(hash)).toBe(false)
    await fixture.store.put(bytes)
    await rm(fixture.loosePath(hash))
    await expect(fixture.store.get(hash)).rejects.toMatchObject(CORRUPT)
    expect(fixture.corrupt.at(-1)).toEqual({ hash, reason: 'its file is missing' })
    await fixture.store.put(bytes)
    expect(await fixture.store.verify(hash)).toBe(true)
  })

  it('makes damaged chunk hashes anew from the blob', async () => {
    await using fixture = await StoreFixture.open()
    const { hash } = await fixture.store.put(bytes)
    const [pack] = (await fixture.packs()) as [string]
    const before = (await stat(pack)).size
    for (const at of [before - 1, before - 100]) await flip(pack, at)
    expect((await fixture.read(hash)).equals(bytes)).toBe(true)
    expect((await stat(pack)).size).toBe(before + 64 + 5 * 32)
    expect((await fixture.read(hash)).equals(bytes)).toBe(true)
    expect((await stat(pack)).size).toBe(before + 64 + 5 * 32)
    expect(fixture.corrupt).toEqual([])
    await fixture.restart({ withoutIndex: true })
    expect((await fixture.read(hash)).equals(bytes)).toBe(true)
  })

  it('serves nothing when chunk hashes and blob are damaged', async () => {
    await using fixture = await StoreFixture.open()
    const { hash } = await fixture.store.put(bytes)
    const [pack] = (await fixture.packs()) as [string]
    await flip(pack, (await stat(pack)).size - 1)
    await flip(fixture.loosePath(hash), 3 * CHUNK + 5)
    const range = { start: 0, end: 0 }
    await expect(fixture.store.get(hash, range)).rejects.toMatchObject(CORRUPT)
  })

  it('forgets nothing when the whole disk is gone', async () => {
    await using fixture = await StoreFixture.open()
    const { hash } = await fixture.store.put(bytes)
    await rename(fixture.path(), `${fixture.path()}-away`)
    await expect(fixture.store.get(hash)).rejects.toMatchObject({
      code: 'BZZZ_STORAGE_UNAVAILABLE',
    })
    await rename(`${fixture.path()}-away`, fixture.path())
    expect((await fixture.read(hash)).equals(bytes)).toBe(true)
    expect(fixture.corrupt).toEqual([])
  })
})
