import { mkdtempSync, rmSync } from 'node:fs'
import { open, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { StorageUnavailableError } from '../../../shared/errors.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { createScrubMetrics } from '../../../p2p-daemon/scrub/scrub-metrics.ts'
import { ScrubProgress } from '../../../p2p-daemon/scrub/scrub-progress.ts'
import { Scrubber } from '../../../p2p-daemon/scrub/scrubber.ts'
import type { BlobStore } from '../../../p2p-daemon/store/blob-store.ts'
import { DiskStore } from '../../../p2p-daemon/store/disk-store.ts'
import { MemoryStore } from '../../../p2p-daemon/store/memory-store.ts'
import { FastClock } from '../../helpers/fast-clock.ts'

const DAY_MS = 86_400_000
/** Thirty days pass in some ten thousand sleeps. */
const WAIT = { timeout: 10_000 }

const FAST = { bytesPerSecondMax: 2 ** 40, ioShare: 1 }

let dir: string
let running: Scrubber[] = []

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'bzzz-scrub-'))
})

afterEach(async () => {
  for (const scrubber of running) await scrubber.stop()
  running = []
  rmSync(dir, { recursive: true })
})

interface Setup {
  store: Pick<BlobStore, 'list' | 'verify' | 'usage'>
  clock: FastClock
  periodMs?: number
}

/** A scrub as after a start of the node; the file in `dir` stays from one to the next. */
async function scrub({ store, clock, periodMs = 30 * DAY_MS }: Setup) {
  const progress = new ScrubProgress(join(dir, 'scrub.db'))
  const registry = new Registry()
  const metrics = createScrubMetrics(registry)
  const repaired: string[] = []
  const repair = (hash: string): void => void repaired.push(hash)
  const log = createSilentLogger()
  const scrubber = new Scrubber(
    { store, progress, repair, metrics, log, clock },
    { ...FAST, periodMs },
  )
  running.push(scrubber)
  await scrubber.start()
  const metric = async (name: string) => (await registry.getSingleMetric(name)!.get()).values
  return { scrubber, repaired, metric }
}

async function filled(store: BlobStore, count: number): Promise<string[]> {
  const puts = Array.from({ length: count }, (_, index) => store.put(Buffer.from(`blob ${index}`)))
  return (await Promise.all(puts)).map(({ hash }) => hash).toSorted()
}

/** Notes what is verified, and when. */
function watched(store: BlobStore, clock: FastClock) {
  const verified: { hash: string; atMs: number }[] = []
  const watching: Setup['store'] = {
    list: (options) => store.list(options),
    usage: () => store.usage(),
    verify: (hash, options) => {
      verified.push({ hash, atMs: clock.now() })
      return store.verify(hash, options)
    },
  }
  return { verified, store: watching }
}

async function flipByte(path: string, position: number): Promise<void> {
  const file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, position)
  await file.write(Buffer.of(byte[0]! ^ 0xff), 0, 1, position)
  await file.close()
}

describe('scrubber', () => {
  it('finds bad copies in packs and files, has them repaired and counts them', async () => {
    const store = new DiskStore({}, { dataDir: dir })
    await store.start()
    const large = Buffer.alloc(3_000_000, 7)
    const small = Buffer.alloc(5_000, 8)
    const badLarge = (await store.put(large)).hash
    const badSmall = (await store.put(small)).hash
    await filled(store, 20)
    const data = join(dir, 'blobs', 'data')
    await flipByte(join(data, badLarge.slice(0, 2), badLarge.slice(2, 4), badLarge), 2_500_000)
    const [pack] = await readdir(join(data, 'packs'))
    await flipByte(join(data, 'packs', pack!), 4_000)
    const { scrubber, repaired, metric } = await scrub({ store, clock: new FastClock() })
    await scrubber.ask()
    await expect.poll(() => scrubber.current()?.state).toBe('done')
    expect(scrubber.current()).toMatchObject({ checked: 22, total: 22, bad: 2, failed: 0 })
    expect(repaired.toSorted()).toEqual([badLarge, badSmall].toSorted())
    expect(await store.stat(badLarge)).toBeUndefined()
    expect(await store.stat(badSmall)).toBeUndefined()
    const quarantined = await readdir(join(dir, 'blobs', 'quarantine'))
    expect(quarantined.filter((name) => name.endsWith('.json'))).toHaveLength(2)
    const counts = await metric('bzzz_scrub_blobs_total')
    expect(counts).toContainEqual({ labels: { result: 'bad' }, value: 2 })
    expect(counts).toContainEqual({ labels: { result: 'good' }, value: 20 })
    expect((await metric('bzzz_scrub_bytes_total'))[0]!.value).toBe(20 * 6 + 10 + large.byteLength)
    await scrubber.stop()
    await store.stop()
  })

  it('reads every blob once in the period and then again', async () => {
    const clock = new FastClock()
    const memory = new MemoryStore()
    const hashes = await filled(memory, 200)
    const { verified, store } = watched(memory, clock)
    const startMs = clock.now()
    clock.endMs = startMs + 59 * DAY_MS
    const { scrubber } = await scrub({ store, clock })
    await expect.poll(() => verified.length, WAIT).toBe(400)
    await scrubber.stop()
    expect(verified.map(({ hash }) => hash)).toEqual([...hashes, ...hashes])
    const days = verified.map(({ atMs }) => (atMs - startMs) / DAY_MS)
    expect(days[199]).toBeLessThan(30)
    expect(days[200]).toBe(30)
    expect(days.filter((day) => day < 10).length).toBeGreaterThan(40)
    expect(days.filter((day) => day < 10).length).toBeLessThan(95)
  })

  it('goes on after a restart where it was', async () => {
    const clock = new FastClock()
    const memory = new MemoryStore()
    const hashes = await filled(memory, 100)
    const { verified, store } = watched(memory, clock)
    const startMs = clock.now()
    clock.endMs = startMs + 10 * DAY_MS
    const before = await scrub({ store, clock })
    const due = hashes.filter((hash) => Number.parseInt(hash.slice(0, 4), 16) < 0x5000).length
    await expect.poll(() => verified.length, WAIT).toBeGreaterThan(due)
    await before.scrubber.stop()
    clock.endMs = startMs + 29 * DAY_MS
    const after = await scrub({ store, clock })
    await expect.poll(() => after.scrubber.current()?.state, WAIT).toBe('done')
    const counts = hashes.map((hash) => verified.filter((seen) => seen.hash === hash).length)
    // The one that waited for its time when the node stopped is the only one read twice.
    expect(counts.filter((count) => count === 1).length).toBeGreaterThanOrEqual(99)
    expect(Math.min(...counts)).toBe(1)
  })

  it('falls back to the regular pace when what was asked for is cancelled', async () => {
    const clock = new FastClock()
    const memory = new MemoryStore()
    await filled(memory, 50)
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => (release = resolve))
    let reads = 0
    const store: Setup['store'] = {
      list: (options) => memory.list(options),
      usage: () => memory.usage(),
      verify: async (hash) => {
        reads += 1
        if (reads === 10) await held
        return memory.verify(hash)
      },
    }
    const { scrubber } = await scrub({ store, clock, periodMs: 0 })
    expect(scrubber.current()).toBeUndefined()
    await scrubber.ask()
    await expect.poll(() => reads).toBe(10)
    expect(scrubber.current()).toMatchObject({ kind: 'asked', state: 'running', checked: 9 })
    expect(scrubber.cancel()).toMatchObject({ state: 'cancelled', checked: 9 })
    release()
    await scrubber.stop()
    expect(reads).toBe(10)
    const withPeriod = await scrub({ store, clock })
    await withPeriod.scrubber.ask()
    expect(withPeriod.scrubber.cancel()).toMatchObject({ kind: 'regular', state: 'running' })
  })

  it('counts what the disk does not answer and then reports no success', async () => {
    const clock = new FastClock()
    const memory = new MemoryStore()
    const hashes = await filled(memory, 5)
    const store: Setup['store'] = {
      list: (options) => memory.list(options),
      usage: () => memory.usage(),
      verify: async (hash) => {
        if (hash === hashes[2]) throw new StorageUnavailableError('The disk refused a read.')
        return memory.verify(hash)
      },
    }
    const { scrubber, metric } = await scrub({ store, clock, periodMs: 0 })
    await scrubber.ask()
    await expect.poll(() => scrubber.current()?.state).toBe('done')
    expect(scrubber.current()).toMatchObject({ checked: 5, failed: 1, lastSuccessMs: null })
    expect((await metric('bzzz_scrub_last_success_timestamp_seconds'))[0]!.value).toBe(0)
  })

  it('remembers the last success over a restart', async () => {
    const clock = new FastClock()
    const store = new MemoryStore()
    await filled(store, 3)
    const before = await scrub({ store, clock, periodMs: 0 })
    await before.scrubber.ask()
    await expect.poll(() => before.scrubber.current()?.state).toBe('done')
    const successMs = before.scrubber.current()!.lastSuccessMs!
    expect(successMs).toBeGreaterThan(0)
    await before.scrubber.stop()
    const after = await scrub({ store, clock, periodMs: 0 })
    const [value] = await after.metric('bzzz_scrub_last_success_timestamp_seconds')
    expect(value!.value).toBe(successMs / 1000)
  })

  it('says nothing of a blob that was deleted before its turn', async () => {
    const clock = new FastClock()
    const memory = new MemoryStore()
    const hashes = await filled(memory, 5)
    const store: Setup['store'] = {
      list: (options) => memory.list(options),
      usage: () => memory.usage(),
      verify: async (hash) => {
        if (hash === hashes[3]) await memory.delete(hash)
        return memory.verify(hash)
      },
    }
    const { scrubber, repaired } = await scrub({ store, clock, periodMs: 0 })
    await scrubber.ask()
    await expect.poll(() => scrubber.current()?.state).toBe('done')
    expect(scrubber.current()).toMatchObject({ bad: 0, failed: 0 })
    expect(repaired).toEqual([])
  })
})
