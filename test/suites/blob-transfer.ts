import { randomBytes } from 'node:crypto'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import type { BlobTransfer, RemoteBlob } from '../../p2p-daemon/transfer/blob-transfer.ts'
import { createHasher, hashBytes } from '../../shared/blob/hash.ts'
import {
  BlobNotFoundError,
  InvalidHashError,
  PeerUnreachableError,
  RangeNotSatisfiableError,
  RemoteError,
} from '../../shared/errors.ts'
import { KiB, MiB } from '../../shared/limits.ts'
import { LARGE_BYTES } from '../helpers/large-blob.ts'
import { until } from '../helpers/mesh.ts'
import type { SourceStore } from '../helpers/source-store.ts'

export interface TransferUnderTest {
  /** Where the blobs are. */
  source: SourceStore
  sourceId: string
  /** Of another node. */
  transfer: BlobTransfer
  ownId: string
  dispose: () => Promise<void>
}

export interface TransferSuiteInit {
  /** Bytes a fetch may have asked for and not handed out, and what the sender reads ahead. */
  outstandingBytesMax: number
}

type Current = () => TransferUnderTest

/** What every transfer promises, whatever it moves the bytes over. */
export function blobTransferSuite(
  name: string,
  create: () => Promise<TransferUnderTest>,
  init: TransferSuiteInit,
): void {
  describe(`blob transfer: ${name}`, () => {
    let under: TransferUnderTest | undefined
    beforeAll(async () => {
      under = await create()
    })
    afterAll(() => under?.dispose())
    const current: Current = () => {
      if (!under) throw new Error('There is no transfer.')
      return under
    }

    contents(current)
    refusals(current)
    flow(current, init)
    ends(current)
  })
}

function contents(current: Current): void {
  it.each([0, 1, 64 * KiB, 256 * KiB + 1, MiB - 1, MiB, MiB + 1, 5 * MiB + 7])(
    'moves a blob of %i bytes',
    async (sizeBytes) => {
      const { source, sourceId, transfer } = current()
      const bytes = randomBytes(sizeBytes)
      const { hash } = await source.put(bytes)
      const remote = await transfer.fetch(sourceId, hash)
      expect(remote).toMatchObject({ hash, sizeBytes })
      expect((await collect(remote)).equals(bytes)).toBe(true)
    },
  )

  it.each([1, MiB - 1, MiB, 2 * MiB + 3, 3 * MiB - 1, 3 * MiB])(
    'resumes at byte %i',
    async (start) => {
      const { source, sourceId, transfer } = current()
      const bytes = randomBytes(3 * MiB)
      const { hash } = await source.put(bytes)
      const remote = await transfer.fetch(sourceId, hash, { start })
      expect(remote.sizeBytes).toBe(bytes.length)
      expect((await collect(remote)).equals(bytes.subarray(start))).toBe(true)
    },
  )

  it('folds the case of a hash', async () => {
    const { source, sourceId, transfer } = current()
    const { hash } = await source.put(Buffer.from('case'))
    const remote = await transfer.fetch(sourceId, hash.toUpperCase())
    expect(remote.hash).toBe(hash)
    expect((await collect(remote)).toString()).toBe('case')
  })

  it('moves 200 small blobs, 50 at once', async () => {
    const { source, sourceId, transfer } = current()
    const blobs = await Promise.all(
      Array.from({ length: 200 }, () => source.put(randomBytes(40 * KiB))),
    )
    for (let first = 0; first < blobs.length; first += 50) {
      const batch = blobs.slice(first, first + 50)
      const hashes = await Promise.all(
        batch.map(async ({ hash }) => {
          const remote = await transfer.fetch(sourceId, hash)
          const bytes = await collect(remote)
          return hashBytes(bytes)
        }),
      )
      expect(hashes).toEqual(batch.map(({ hash }) => hash))
    }
  })

  it('gives released memory to later blobs only', async () => {
    const { source, sourceId, transfer } = current()
    const blobs = await Promise.all(
      Array.from({ length: 40 }, (_, index) => source.put(Buffer.alloc(20 * KiB, index))),
    )
    const fetchAll = async (): Promise<void> => {
      for (const { hash } of blobs) {
        const { body, release } = await transfer.fetch(sourceId, hash)
        const chunks: Uint8Array[] = []
        for await (const chunk of body) chunks.push(chunk)
        // Others arrive before these are looked at.
        await new Promise((resolve) => setImmediate(resolve))
        expect(hashBytes(Buffer.concat(chunks))).toBe(hash)
        for (const chunk of chunks) release?.(chunk)
      }
    }
    await Promise.all(Array.from({ length: 8 }, fetchAll))
  })
}

function refusals(current: Current): void {
  it('says that the peer has no such blob and goes on with the same peer', async () => {
    const { source, sourceId, transfer } = current()
    const nothing = transfer.fetch(sourceId, 'ab'.repeat(32))
    await expect(nothing).rejects.toBeInstanceOf(BlobNotFoundError)
    const { hash } = await source.put(Buffer.from('still here'))
    const remote = await transfer.fetch(sourceId, hash)
    expect((await collect(remote)).toString()).toBe('still here')
  })

  it('refuses a start after the end and names the size', async () => {
    const { source, sourceId, transfer } = current()
    const { hash } = await source.put(Buffer.from('12345'))
    const error = await transfer.fetch(sourceId, hash, { start: 6 }).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(RangeNotSatisfiableError)
    expect((error as RangeNotSatisfiableError).sizeBytes).toBe(5)
  })

  it('refuses what is no hash', async () => {
    const { sourceId, transfer } = current()
    await expect(transfer.fetch(sourceId, 'abc')).rejects.toBeInstanceOf(InvalidHashError)
  })

  it('fails at once for a peer that is not connected', async () => {
    const { transfer, ownId, source } = current()
    const fetched = transfer.fetch(ownId, source.large.hash)
    await expect(fetched).rejects.toBeInstanceOf(PeerUnreachableError)
  })

  it('does not end as if it were whole when the source fails in the middle', async () => {
    const { source, sourceId, transfer } = current()
    const { hash } = await source.put(randomBytes(5 * MiB))
    source.corruptFrom = 3 * MiB
    try {
      const remote = await transfer.fetch(sourceId, hash)
      const error = await collect(remote).catch((e: unknown) => e)
      expect(error).toBeInstanceOf(RemoteError)
      expect(error).toMatchObject({ code: 'BZZZ_BLOB_CORRUPT', status: 503 })
    } finally {
      source.corruptFrom = undefined
    }
  })
}

function flow(current: Current, { outstandingBytesMax }: TransferSuiteInit): void {
  it('asks for no more than a slow reader has room for', async () => {
    const { source, sourceId, transfer } = current()
    const { large } = source
    large.bytesRead = 0
    const { body } = await transfer.fetch(sourceId, large.hash)
    const reader = body[Symbol.asyncIterator]()
    await reader.next()
    // With nothing read, the sender must come to rest long before the end.
    await rests(() => large.bytesRead)
    expect(large.bytesRead).toBeLessThanOrEqual(outstandingBytesMax)
    await reader.return?.()
    await until(() => large.reading === 0, 'the sender to close the blob')
  })

  it('moves 96 MiB without holding them', async () => {
    const { source, sourceId, transfer } = current()
    const { body, sizeBytes } = await transfer.fetch(sourceId, source.large.hash)
    expect(sizeBytes).toBe(LARGE_BYTES)
    const hasher = createHasher()
    const before = process.memoryUsage().rss
    let peak = 0
    for await (const chunk of body) {
      hasher.update(chunk)
      peak = Math.max(peak, process.memoryUsage().rss - before)
    }
    expect(hasher.digestHex()).toBe(source.large.hash)
    expect(peak).toBeLessThan(80 * MiB)
  })

  it('serves others while many readers stand still', async () => {
    const { source, sourceId, transfer } = current()
    const { large } = source
    const still = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { body } = await transfer.fetch(sourceId, large.hash)
        const reader = body[Symbol.asyncIterator]()
        await reader.next()
        return reader
      }),
    )
    const bytes = randomBytes(3 * MiB)
    const { hash } = await source.put(bytes)
    const remote = await transfer.fetch(sourceId, hash)
    expect((await collect(remote)).equals(bytes)).toBe(true)
    await Promise.all(still.map(async (reader) => reader.return?.()))
    await until(() => large.reading === 0, 'the sender to close the blobs')
  })
}

function ends(current: Current): void {
  it('stops the sender when the caller aborts', async () => {
    const { source, sourceId, transfer } = current()
    const { large } = source
    large.bytesRead = 0
    const controller = new AbortController()
    const { body } = await transfer.fetch(sourceId, large.hash, { signal: controller.signal })
    const read = (async () => {
      for await (const chunk of body) if (chunk.length > 0) controller.abort(new Error('enough'))
    })()
    await expect(read).rejects.toThrow('enough')
    await until(() => large.reading === 0, 'the sender to close the blob')
    await rests(() => large.bytesRead)
    expect(large.bytesRead).toBeLessThan(LARGE_BYTES / 2)
  })

  it('stops the sender when the reader leaves early', async () => {
    const { source, sourceId, transfer } = current()
    const { large } = source
    large.bytesRead = 0
    const { body } = await transfer.fetch(sourceId, large.hash)
    for await (const chunk of body) if (chunk.length > 0) break
    await until(() => large.reading === 0, 'the sender to close the blob')
    await rests(() => large.bytesRead)
    expect(large.bytesRead).toBeLessThan(LARGE_BYTES / 2)
  })

  it('wakes a reader that waits when the caller aborts', async () => {
    const { source, sourceId, transfer } = current()
    const { hash } = await source.put(randomBytes(3 * MiB))
    const controller = new AbortController()
    source.hold = true
    try {
      const fetched = transfer.fetch(sourceId, hash, { signal: controller.signal })
      await until(() => source.held > 0, 'the request to arrive')
      controller.abort(new Error('too late'))
      await expect(fetched).rejects.toThrow('too late')
    } finally {
      source.hold = false
    }
  })

  it('begins nothing with a signal that has gone off', async () => {
    const { source, sourceId, transfer } = current()
    const signal = AbortSignal.abort(new Error('before'))
    const fetched = transfer.fetch(sourceId, source.large.hash, { signal })
    await expect(fetched).rejects.toThrow('before')
  })

  it('leaves a caller’s signal as it found it', async () => {
    const { source, sourceId, transfer } = current()
    const { hash } = await source.put(randomBytes(100))
    const controller = new AbortController()
    const remote = await transfer.fetch(sourceId, hash, { signal: controller.signal })
    expect((await collect(remote)).length).toBe(100)
    controller.abort(new Error('afterwards'))
    const again = await transfer.fetch(sourceId, hash)
    expect((await collect(again)).length).toBe(100)
  })
}

export async function collect({ body }: Pick<RemoteBlob, 'body'>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Waits until a count no longer grows. */
async function rests(count: () => number): Promise<void> {
  let before = -1
  await until(async () => {
    const rested = before === count()
    before = count()
    await new Promise((resolve) => setTimeout(resolve, 300))
    return rested
  }, 'the sender to rest')
}
