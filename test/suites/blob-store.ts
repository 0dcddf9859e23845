import { randomBytes } from 'node:crypto'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import type { BlobStore } from '../../p2p-daemon/store/blob-store.ts'
import { hashBytes } from '../../shared/blob/hash.ts'

export interface StoreUnderTest {
  store: BlobStore
  dispose: () => Promise<void>
}

/** Below and above everything the stores treat differently: pack or file, one chunk or several. */
const SIZES = [0, 1, 1023, 65_536, 262_144, 262_145, 1_048_575, 1_048_576, 1_048_577, 3_500_000]

/** What every blob store promises, whatever it keeps its blobs in. */
export function blobStoreSuite(name: string, create: () => Promise<StoreUnderTest>): void {
  describe(`blob store: ${name}`, () => {
    let store: BlobStore
    let dispose: () => Promise<void>

    beforeEach(async () => {
      ;({ store, dispose } = await create())
      await store.start()
    })

    afterEach(async () => {
      await store.stop()
      await dispose()
    })

    putAndGet(() => store)
    refusals(() => store)
    ranges(() => store)
    listings(() => store)
  })
}

function putAndGet(current: () => BlobStore): void {
  it.each(SIZES)('gives back a blob of %i bytes', async (sizeBytes) => {
    const store = current()
    const bytes = randomBytes(sizeBytes)
    const hash = hashBytes(bytes)
    expect(await store.put(bytes)).toEqual({ hash, sizeBytes, existed: false })
    expect(await store.stat(hash)).toEqual({ hash, sizeBytes })
    const read = await store.get(hash)
    expect(read).toMatchObject({ hash, sizeBytes, start: 0, end: sizeBytes - 1 })
    expect((await collect(read.body)).equals(bytes)).toBe(true)
    expect(await store.verify(hash)).toBe(true)
  })

  it.each([1, 777, 65_536, 1_300_000])(
    'takes a stream in pieces of %i bytes',
    async (pieceBytes) => {
      const store = current()
      const bytes = randomBytes(pieceBytes === 1 ? 2000 : 2_700_001)
      const result = await store.put(stream(bytes, pieceBytes))
      expect(result.hash).toBe(hashBytes(bytes))
      expect((await collect((await store.get(result.hash)).body)).equals(bytes)).toBe(true)
    },
  )

  it.each([1000, 2_000_000])('stores the same %i bytes once', async (sizeBytes) => {
    const store = current()
    const bytes = randomBytes(sizeBytes)
    const results = await Promise.all(Array.from({ length: 8 }, () => store.put(bytes)))
    expect(results.filter((result) => !result.existed)).toHaveLength(1)
    expect((await store.put(stream(bytes, 100_000))).existed).toBe(true)
    expect(await store.usage()).toEqual({ blobs: 1, bytes: sizeBytes })
  })

  it.each([1000, 2_000_000])('deletes %i bytes and takes them again', async (sizeBytes) => {
    const store = current()
    const bytes = randomBytes(sizeBytes)
    const { hash } = await store.put(bytes)
    expect(await store.delete(hash)).toBe(true)
    expect(await store.delete(hash)).toBe(false)
    expect(await store.stat(hash)).toBeUndefined()
    await expect(store.get(hash)).rejects.toMatchObject({ code: 'BZZZ_BLOB_NOT_FOUND' })
    expect(await store.usage()).toEqual({ blobs: 0, bytes: 0 })
    expect((await store.put(bytes)).existed).toBe(false)
    expect((await collect((await store.get(hash)).body)).equals(bytes)).toBe(true)
  })

  it('folds the case of a hash', async () => {
    const store = current()
    const { hash } = await store.put(Buffer.from('case'))
    expect((await store.stat(hash.toUpperCase()))?.hash).toBe(hash)
    expect((await collect((await store.get(hash.toUpperCase())).body)).toString()).toBe('case')
  })

  it('starts and stops twice without harm', async () => {
    const store = current()
    await store.start()
    await store.put(Buffer.from('x'))
    await store.stop()
    await store.stop()
  })
}

function refusals(current: () => BlobStore): void {
  const cases = [1000, 2_000_000]

  it.each(cases)('refuses %i bytes that are not those announced', async (sizeBytes) => {
    const store = current()
    const expectedHash = hashBytes(randomBytes(8))
    const bytes = randomBytes(sizeBytes)
    await expect(store.put(bytes, { expectedHash })).rejects.toMatchObject({
      code: 'BZZZ_HASH_MISMATCH',
    })
    expect(await store.usage()).toEqual({ blobs: 0, bytes: 0 })
    const hash = hashBytes(bytes)
    expect((await store.put(bytes, { expectedHash: hash.toUpperCase() })).hash).toBe(hash)
    await expect(store.put(randomBytes(sizeBytes), { expectedHash: hash })).rejects.toMatchObject({
      code: 'BZZZ_HASH_MISMATCH',
    })
  })

  it.each(cases)('refuses %i bytes that are cut short or too many', async (sizeBytes) => {
    const store = current()
    const bytes = randomBytes(sizeBytes)
    for (const wrong of [sizeBytes + 1, sizeBytes - 1]) {
      const cut = { expectedSizeBytes: wrong }
      await expect(store.put(bytes, cut)).rejects.toMatchObject({ code: 'BZZZ_UPLOAD_CUT' })
      await expect(store.put(stream(bytes, 4096), cut)).rejects.toMatchObject({
        code: 'BZZZ_UPLOAD_CUT',
      })
    }
    expect(await store.usage()).toEqual({ blobs: 0, bytes: 0 })
    const exact = { expectedSizeBytes: sizeBytes, sizeBytesMax: sizeBytes }
    expect((await store.put(stream(bytes, 4096), exact)).existed).toBe(false)
  })

  it('stops reading a source as soon as it is too large', async () => {
    const store = current()
    let asked = 0
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        asked += 1
        yield new Uint8Array(1000)
      }
    }
    await expect(store.put(endless(), { sizeBytesMax: 10_000 })).rejects.toMatchObject({
      code: 'BZZZ_BODY_TOO_LARGE',
    })
    expect(asked).toBe(11)
  })

  it.each([10, 3_000_000])(
    'stores nothing of a source that fails after %i bytes',
    async (after) => {
      const store = current()
      async function* failing(): AsyncGenerator<Uint8Array> {
        yield new Uint8Array(after)
        throw new Error('the wire broke')
      }
      await expect(store.put(failing())).rejects.toThrow('the wire broke')
      expect(await store.usage()).toEqual({ blobs: 0, bytes: 0 })
    },
  )

  it('stops when the signal says so', async () => {
    const store = current()
    const controller = new AbortController()
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(2_000_000)
      controller.abort(new Error('enough'))
      yield new Uint8Array(1)
    }
    await expect(store.put(slow(), { signal: controller.signal })).rejects.toThrow('enough')
    await expect(store.put(Buffer.from('a'), { signal: controller.signal })).rejects.toThrow(
      'enough',
    )
    const { hash } = await store.put(new Uint8Array(3_000_000))
    await expect(store.get(hash, { signal: controller.signal })).rejects.toThrow('enough')
    expect(await store.usage()).toEqual({ blobs: 1, bytes: 3_000_000 })
  })

  it('refuses what is no hash', async () => {
    const store = current()
    for (const text of ['', 'abc', '../../etc/passwd', 'g'.repeat(64), 'a'.repeat(65)]) {
      const invalid = { code: 'BZZZ_HASH_INVALID' }
      await expect(store.get(text)).rejects.toMatchObject(invalid)
      await expect(store.stat(text)).rejects.toMatchObject(invalid)
      await expect(store.delete(text)).rejects.toMatchObject(invalid)
      await expect(store.verify(text)).rejects.toMatchObject(invalid)
      await expect(store.put(new Uint8Array(1), { expectedHash: text })).rejects.toMatchObject(
        invalid,
      )
    }
  })

  it('does not know a blob nobody put', async () => {
    const store = current()
    const hash = hashBytes(randomBytes(8))
    expect(await store.stat(hash)).toBeUndefined()
    expect(await store.delete(hash)).toBe(false)
    await expect(store.get(hash)).rejects.toMatchObject({ code: 'BZZZ_BLOB_NOT_FOUND' })
    await expect(store.verify(hash)).rejects.toMatchObject({ code: 'BZZZ_BLOB_NOT_FOUND' })
  })
}

function ranges(current: () => BlobStore): void {
  it.each([1000, 3_500_000])('reads any range of %i bytes', async (sizeBytes) => {
    const store = current()
    const bytes = randomBytes(sizeBytes)
    const { hash } = await store.put(bytes)
    const last = sizeBytes - 1
    const chunk = 1_048_576
    const wanted = [
      [0, 0],
      [last, last],
      [0, last],
      [1, last - 1],
      [last - 10, last + 1000],
      [Math.min(chunk - 1, last), Math.min(chunk, last)],
      [Math.min(chunk, last), Math.min(2 * chunk - 1, last)],
      [5, 5 + Math.min(chunk * 2, last - 5)],
    ] as const
    for (const [start, end] of wanted) {
      const read = await store.get(hash, { start, end })
      const expected = bytes.subarray(start, end + 1)
      expect(read).toMatchObject({ sizeBytes, start, end: Math.min(end, last) })
      expect((await collect(read.body)).equals(expected)).toBe(true)
    }
    const open = await store.get(hash, { start: 10 })
    expect((await collect(open.body)).equals(bytes.subarray(10))).toBe(true)
  })

  it('refuses a range outside of the blob', async () => {
    const store = current()
    const { hash } = await store.put(Buffer.from('0123456789'))
    const empty = await store.put(new Uint8Array(0))
    const outside = [{ start: 10 }, { start: 5, end: 4 }, { start: -1 }, { start: 0.5 }]
    for (const range of outside) {
      await expect(store.get(hash, range)).rejects.toMatchObject({
        code: 'BZZZ_RANGE_NOT_SATISFIABLE',
        sizeBytes: 10,
      })
    }
    await expect(store.get(empty.hash, { start: 0 })).rejects.toMatchObject({
      code: 'BZZZ_RANGE_NOT_SATISFIABLE',
    })
    expect((await collect((await store.get(empty.hash)).body)).byteLength).toBe(0)
  })

  it('lets a reader leave early', async () => {
    const store = current()
    const { hash } = await store.put(randomBytes(5_000_000))
    for await (const chunk of (await store.get(hash)).body) {
      expect(chunk.byteLength).toBeGreaterThan(0)
      break
    }
    expect(await store.delete(hash)).toBe(true)
  })
}

function listings(current: () => BlobStore): void {
  it('lists in hash order and resumes after any hash', async () => {
    const store = current()
    const hashes: string[] = []
    for (let at = 0; at < 40; at += 1) hashes.push((await store.put(Buffer.from(`${at}`))).hash)
    hashes.push((await store.put(new Uint8Array(400_000))).hash)
    hashes.sort()
    const listed = await all(store.list())
    expect(listed.map((stat) => stat.hash)).toEqual(hashes)
    expect(listed.reduce((sum, stat) => sum + stat.sizeBytes, 0)).toBe((await store.usage()).bytes)
    const after = hashes[16] as string
    const page = await all(store.list({ after, limit: 7 }))
    expect(page.map((stat) => stat.hash)).toEqual(hashes.slice(17, 24))
    expect(await all(store.list({ after: hashes.at(-1) as string }))).toEqual([])
    expect(await all(store.list({ limit: 0 }))).toEqual([])
  })
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const item of items) list.push(item)
  return list
}

export async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await all(body))
}

export async function* stream(bytes: Uint8Array, pieceBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) {
    yield bytes.subarray(at, at + pieceBytes)
  }
}
