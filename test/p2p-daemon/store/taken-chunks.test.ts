import { randomBytes } from 'node:crypto'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { DiskStore } from '../../../p2p-daemon/store/disk-store.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { KiB, MiB } from '../../../shared/limits.ts'
import { collect } from '../../suites/blob-store.ts'
import { makeTempDir } from './temp-dir.ts'

describe('disk-store, chunks it has taken', () => {
  let store: DiskStore
  let removeDir: () => Promise<void>

  beforeEach(async () => {
    const dir = await makeTempDir()
    removeDir = dir.remove
    store = new DiskStore({}, { dataDir: dir.path })
    await store.start()
  })

  afterEach(async () => {
    await store.stop()
    await removeDir()
  })

  it.each([
    [1, MiB],
    [40 * KiB, MiB],
    [300 * KiB, MiB],
    [MiB, MiB],
    [MiB + 1, MiB],
    [9 * MiB + 7, MiB],
    [9 * MiB + 7, 700 * KiB],
  ])('keeps %i bytes that come in pieces of %i and change afterwards', async (size, piece) => {
    const bytes = randomBytes(size)
    const hash = hashBytes(bytes)
    const source = (async function* () {
      for (let at = 0; at < size; at += piece) yield Buffer.from(bytes.subarray(at, at + piece))
    })()
    let taken = 0
    const onTaken = (chunk: Uint8Array): void => {
      taken += chunk.length
      chunk.fill(0xee)
    }
    expect((await store.put(source, { expectedHash: hash, onTaken })).hash).toBe(hash)
    expect(taken).toBe(size)
    const read = await store.get(hash)
    expect((await collect(read.body)).equals(bytes)).toBe(true)
    expect(await store.verify(hash)).toBe(true)
  })

  it('names no chunk of a put that failed', async () => {
    const taken: number[] = []
    const source = (async function* () {
      yield randomBytes(1_000)
    })()
    const put = store.put(source, {
      expectedHash: 'ab'.repeat(32),
      onTaken: (chunk) => void taken.push(chunk.length),
    })
    await expect(put).rejects.toMatchObject({ code: 'BZZZ_HASH_MISMATCH' })
    expect(taken).toEqual([])
  })
})
