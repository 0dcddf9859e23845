import { randomBytes } from 'node:crypto'
import {
  appendFile,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { dirname } from 'node:path'

import { describe, expect, it } from 'vitest'

import { DiskStore } from '../../../p2p-daemon/store/disk-store.ts'
import type { RebuildProgress } from '../../../p2p-daemon/store/store-recovery.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { all } from '../../suites/blob-store.ts'
import { blobOf } from './random.ts'
import { StoreFixture } from './store-fixture.ts'
import { makeTempDir } from './temp-dir.ts'

const SIZES = [0, 10, 40_000, 90_000, 262_145, 1_048_577, 60_000]

async function fill(fixture: StoreFixture, ids: number): Promise<Map<string, Buffer>> {
  const blobs = new Map<string, Buffer>()
  for (let id = 0; id < ids; id += 1) {
    const bytes = blobOf(id, (SIZES[id % SIZES.length] as number) + (id > 6 ? id : 0))
    blobs.set((await fixture.store.put(bytes)).hash, bytes)
  }
  return blobs
}

async function expectExactly(fixture: StoreFixture, blobs: Map<string, Buffer>): Promise<void> {
  const listed = await all(fixture.store.list())
  expect(listed.map(({ hash }) => hash)).toEqual([...blobs.keys()].toSorted())
  for (const [hash, bytes] of blobs) expect((await fixture.read(hash)).equals(bytes)).toBe(true)
  const bytes = [...blobs.values()].reduce((sum, blob) => sum + blob.byteLength, 0)
  expect(await fixture.store.usage()).toEqual({ blobs: blobs.size, bytes })
}

describe('disk-store restart', () => {
  it.each([false, true])('finds everything again, index lost: %s', async (withoutIndex) => {
    await using fixture = await StoreFixture.open({}, { segmentBytesMax: 300_000 })
    const blobs = await fill(fixture, 21)
    for (const hash of [...blobs.keys()].slice(0, 9)) {
      await fixture.store.delete(hash)
      blobs.delete(hash)
    }
    await fixture.restart({ withoutIndex })
    await expectExactly(fixture, blobs)
    expect(fixture.corrupt).toEqual([])
    const again = await fill(fixture, 3)
    await fixture.restart({ withoutIndex })
    await expectExactly(fixture, new Map([...blobs, ...again]))
  })

  it('reads the tail that a killed process had not indexed', async () => {
    await using fixture = await StoreFixture.open()
    await fixture.stop()
    const before = await readFile(fixture.path('index', 'primary.db'))
    await fixture.start()
    const blobs = await fill(fixture, 8)
    const [first] = blobs.keys()
    await fixture.store.delete(first as string)
    blobs.delete(first as string)
    await fixture.stop()
    await writeFile(fixture.path('index', 'primary.db'), before)
    await fixture.start()
    await expectExactly(fixture, blobs)
  })

  it('tells the progress of a rebuild', async () => {
    const progress: RebuildProgress[] = []
    const components = { onProgress: (at: RebuildProgress) => void progress.push(at) }
    await using fixture = await StoreFixture.open(components, { segmentBytesMax: 100_000 })
    await fill(fixture, 14)
    await fixture.restart()
    expect(progress).toEqual([])
    await fixture.restart({ withoutIndex: true })
    expect(progress.length).toBeGreaterThan(1)
    const last = progress.at(-1)
    expect(last?.doneBytes).toBe(last?.totalBytes)
    expect(last?.records).toBe(14)
  })

  it('replaces an index that is no database', async () => {
    await using fixture = await StoreFixture.open()
    const blobs = await fill(fixture, 7)
    await fixture.stop()
    await writeFile(fixture.path('index', 'primary.db'), randomBytes(50_000))
    await fixture.start()
    await expectExactly(fixture, blobs)
  })

  it.each([0, 12])('replaces an index with %i of its pages intact', async (pages) => {
    await using fixture = await StoreFixture.open()
    const blobs = new Map<string, Buffer>()
    const puts = Array.from({ length: 1200 }, async (_, id) => {
      const bytes = blobOf(id, 20)
      blobs.set((await fixture.store.put(bytes)).hash, bytes)
    })
    await Promise.all(puts)
    await fixture.stop()
    const path = fixture.path('index', 'primary.db')
    const database = await readFile(path)
    // The first page says what tables there are; without the others it is found out sooner.
    const intact = database.subarray(0, 4096 * (1 + pages))
    const size = database.byteLength - intact.byteLength
    expect(size).toBeGreaterThan(4096)
    await writeFile(path, Buffer.concat([intact, randomBytes(size)]))
    await fixture.start()
    let refused = 0
    for (const [hash, bytes] of blobs) {
      try {
        expect((await fixture.read(hash)).equals(bytes)).toBe(true)
      } catch (error) {
        expect(error).toMatchObject({ code: 'BZZZ_STORAGE_UNAVAILABLE' })
        refused += 1
      }
    }
    expect(refused > 0).toBe(pages > 0)
    await fixture.restart()
    await expectExactly(fixture, blobs)
  })

  it('starts over when the index knows more than the disk', async () => {
    await using fixture = await StoreFixture.open({}, { segmentBytesMax: 100_000 })
    const blobs = await fill(fixture, 14)
    await fixture.stop()
    const [first] = await fixture.packs()
    await rm(first as string)
    await fixture.start()
    const listed = await all(fixture.store.list())
    const lost = fixture.corrupt.map(({ hash }) => hash)
    expect(lost.length).toBeGreaterThan(0)
    expect([...listed.map(({ hash }) => hash), ...lost].toSorted()).toEqual(
      [...blobs.keys()].toSorted(),
    )
    for (const hash of lost) {
      expect((await fixture.store.put(blobs.get(hash) as Buffer)).existed).toBe(false)
    }
    await expectExactly(fixture, blobs)
  })
})

describe('disk-store torn tail', () => {
  it.each([1, 63, 64, 65, 1000, 6000])('cuts %i bytes of a torn record', async (cutBytes) => {
    await using fixture = await StoreFixture.open()
    const kept = (await fixture.store.put(blobOf(1, 4000))).hash
    const torn = (await fixture.store.put(blobOf(2, 6000))).hash
    const [pack] = await fixture.packs()
    await fixture.stop()
    const size = (await readFile(pack as string)).byteLength
    await truncate(pack as string, size - cutBytes)
    await fixture.start()
    expect(await fixture.store.stat(torn)).toBeUndefined()
    expect((await fixture.read(kept)).equals(blobOf(1, 4000))).toBe(true)
    expect((await readFile(pack as string)).byteLength).toBe(size - 6064)
    expect((await fixture.store.put(blobOf(2, 6000))).existed).toBe(false)
    await fixture.restart({ withoutIndex: true })
    expect((await fixture.read(torn)).equals(blobOf(2, 6000))).toBe(true)
  })

  it('goes on behind garbage that follows the last record', async () => {
    await using fixture = await StoreFixture.open()
    const first = (await fixture.store.put(blobOf(1, 4000))).hash
    const [pack] = await fixture.packs()
    await fixture.stop()
    await appendFile(pack as string, randomBytes(10_000))
    await fixture.start()
    const second = (await fixture.store.put(blobOf(2, 300))).hash
    await fixture.restart({ withoutIndex: true })
    expect((await fixture.read(first)).equals(blobOf(1, 4000))).toBe(true)
    expect((await fixture.read(second)).equals(blobOf(2, 300))).toBe(true)
    expect(await fixture.packs()).toHaveLength(1)
  })

  it('keeps a blob that ends in zeros before space that was made ready', async () => {
    await using fixture = await StoreFixture.open()
    const zeros = Buffer.alloc(700_000)
    const { hash } = await fixture.store.put(zeros)
    await fixture.stop()
    const [pack] = (await fixture.packs()) as [string]
    const { size } = await stat(pack)
    await truncate(pack, size + 9_000_000)
    await fixture.restart({ withoutIndex: true })
    expect((await fixture.read(hash)).equals(zeros)).toBe(true)
    expect((await stat(pack)).size).toBe(size)
  })

  it('sweeps what a put left in temp and takes a loose file without a record in', async () => {
    await using fixture = await StoreFixture.open()
    await fixture.stop()
    await writeFile(fixture.path('temp', 'left.part'), 'half')
    const bytes = blobOf(5, 300_000)
    const hash = hashBytes(bytes)
    await mkdir(dirname(fixture.loosePath(hash)), { recursive: true })
    await writeFile(fixture.loosePath(hash), bytes)
    await fixture.start()
    expect(await readdir(fixture.path('temp'))).toEqual([])
    expect(await fixture.store.stat(hash)).toBeUndefined()
    await fixture.store.compact()
    expect((await fixture.read(hash)).equals(bytes)).toBe(true)
    await fixture.restart({ withoutIndex: true })
    expect((await fixture.read(hash)).equals(bytes)).toBe(true)
  })
})

describe('disk-store data folder', () => {
  it('refuses a folder another store holds', async () => {
    await using fixture = await StoreFixture.open()
    const second = new DiskStore({}, { dataDir: fixture.dataDir })
    await expect(second.start()).rejects.toMatchObject({ code: 'BZZZ_DATA_FOLDER_LOCKED' })
    await fixture.stop()
    await second.start()
    await second.stop()
  })

  it('touches nothing while another store holds the folder', async () => {
    await using fixture = await StoreFixture.open()
    await writeFile(fixture.path('temp', 'upload.part'), 'on its way')
    const second = new DiskStore({}, { dataDir: fixture.dataDir })
    await expect(second.start()).rejects.toThrow()
    expect(await readdir(fixture.path('temp'))).toEqual(['upload.part'])
  })

  it('refuses a folder of a newer release, and one that is not ours', async () => {
    const dir = await makeTempDir()
    const store = new DiskStore({}, { dataDir: dir.path })
    const format = `${dir.path}/blobs/format.json`
    await mkdir(`${dir.path}/blobs/data/ab`, { recursive: true })
    await expect(store.start()).rejects.toMatchObject({ code: 'BZZZ_DATA_FOLDER_FOREIGN' })
    await writeFile(format, '{"format":"something else"}')
    await expect(store.start()).rejects.toMatchObject({ code: 'BZZZ_DATA_FOLDER_FOREIGN' })
    await writeFile(format, '{"format":"bzzz-blobs","version":2}')
    await expect(store.start()).rejects.toMatchObject({ code: 'BZZZ_DATA_FOLDER_NEWER' })
    await writeFile(format, '{"format":"bzzz-blobs","version":1}')
    await store.start()
    await store.stop()
    await dir.remove()
  })

  it('has the folders of the layout', async () => {
    await using fixture = await StoreFixture.open()
    const names = (await readdir(fixture.path())).toSorted()
    expect(names).toEqual(
      ['conversations', 'data', 'format.json', 'index', 'quarantine', 'temp'].toSorted(),
    )
  })

  it('answers a typed error after it was stopped', async () => {
    await using fixture = await StoreFixture.open()
    const { store } = fixture
    const { hash } = await store.put(new Uint8Array(10))
    await fixture.stop()
    const stopped = { code: 'BZZZ_STORAGE_UNAVAILABLE' }
    await expect(store.put(new Uint8Array(5))).rejects.toMatchObject(stopped)
    await expect(store.get(hash)).rejects.toMatchObject(stopped)
    await expect(store.stat(hash)).rejects.toMatchObject(stopped)
  })
})
