import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describe, expect, it } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import type { BlobStore } from '../../../p2p-daemon/store/blob-store.ts'
import { DiskStore } from '../../../p2p-daemon/store/disk-store.ts'
import { MemoryStore } from '../../../p2p-daemon/store/memory-store.ts'

const ROUNDS = 60
const WRITERS = 4

async function withStores(run: (store: BlobStore) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'bzzz-race-'))
  const disk = new DiskStore({}, { dataDir: dir, packBlobBytesMax: 65_536 })
  await disk.start()
  try {
    await run(disk)
    await run(new MemoryStore())
  } finally {
    await disk.stop()
    rmSync(dir, { recursive: true })
  }
}

/** Lets a random part of what is under way go on first. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

describe('put against delete', () => {
  it.each([
    { kind: 'packed', sizeBytes: 2_000, announced: false },
    { kind: 'loose', sizeBytes: 90_000, announced: false },
    { kind: 'loose and announced', sizeBytes: 90_000, announced: true },
  ])('keeps a $kind blob that a put found here', async ({ sizeBytes, announced }) => {
    await withStores(async (store) => {
      const deletable = new Set<string>()
      store.watchPuts((hash) => deletable.delete(hash))
      let found = 0
      let deleted = 0
      for (let round = 0; round < ROUNDS; round += 1) {
        const bytes = Buffer.alloc(sizeBytes, round)
        const hash = hashBytes(bytes)
        await store.put(bytes)
        deletable.add(hash)
        const put = async (delay: number) => {
          await turns(delay)
          const options = announced ? { expectedHash: hash } : {}
          const { existed } = await store.put(bytes, options)
          expect(await store.stat(hash), `round ${round}`).toBeDefined()
          if (existed) found += 1
        }
        const remove = async (first: Promise<void>) => {
          // Every other time a put has ended before: it must have been heard.
          if (round % 2 === 0) await first
          await turns((round >> 1) % 4)
          if (await store.delete(hash, { onlyIf: () => deletable.has(hash) })) deleted += 1
        }
        const delays = Array.from({ length: WRITERS }, (_, writer) => (round * 3 + writer) % 7)
        const puts = delays.map(put)
        await Promise.all([remove(Promise.race(puts)), ...puts])
        expect(await store.verify(hash)).toBe(true)
      }
      expect(found).toBeGreaterThan(0)
      expect(deleted).toBeGreaterThan(0)
    })
  })

  it('tells of a touch and leaves what its condition protects', async () => {
    await withStores(async (store) => {
      const told: string[] = []
      store.watchPuts((hash) => told.push(hash))
      const { hash, sizeBytes } = await store.put(Buffer.from('touched'))
      expect(await store.touch(hash)).toEqual({ hash, sizeBytes })
      expect(told).toEqual([hash, hash])
      expect(await store.delete(hash, { onlyIf: () => false })).toBe(false)
      expect(await store.delete(hash, { onlyIf: () => true })).toBe(true)
      expect(await store.touch(hash)).toBeUndefined()
    })
  })
})
