import { randomBytes } from 'node:crypto'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { MemoryStore } from '../../../p2p-daemon/store/memory-store.ts'
import type { BlobRead, BlobStore, ReadOptions } from '../../../p2p-daemon/store/blob-store.ts'
import { BLOB_PROTOCOL } from '../../../p2p-daemon/transfer/constants.ts'
import { framed } from '../../../p2p-daemon/mesh/framing.ts'
import { StreamTransfer } from '../../../p2p-daemon/transfer/stream-transfer.ts'
import { createHasher, hashBytes } from '../../../shared/blob/hash.ts'
import {
  BlobNotFoundError,
  PeerUnreachableError,
  RangeNotSatisfiableError,
} from '../../../shared/errors.ts'
import { KiB, MiB } from '../../../shared/limits.ts'
import { startCluster, until, type TestCluster } from '../../helpers/mesh.ts'

const LARGE_BYTES = 96 * MiB

/** A store with one blob that is computed, not held: what a test measures is the transfer. */
class LargeBlob implements Pick<BlobStore, 'get' | 'stat'> {
  readonly hash: string
  readonly #chunk = randomBytes(1 * MiB)
  bytesRead = 0

  constructor() {
    const hasher = createHasher()
    for (let offset = 0; offset < LARGE_BYTES; offset += MiB) hasher.update(this.#at(offset))
    this.hash = hasher.digestHex()
  }

  async stat(hash: string): Promise<{ hash: string; sizeBytes: number } | undefined> {
    return hash === this.hash ? { hash, sizeBytes: LARGE_BYTES } : undefined
  }

  async get(hash: string, options: ReadOptions = {}): Promise<BlobRead> {
    const { start = 0, end = LARGE_BYTES - 1 } = options
    return { hash, sizeBytes: LARGE_BYTES, start, end, body: this.#body(start, end) }
  }

  async *#body(start: number, end: number): AsyncGenerator<Uint8Array> {
    for (let offset = start; offset <= end;) {
      const base = offset - (offset % MiB)
      const bytes = this.#at(base).subarray(offset - base, Math.min(MiB, end + 1 - base))
      this.bytesRead += bytes.length
      offset += bytes.length
      yield bytes
    }
  }

  #at(offset: number): Buffer {
    const bytes = Buffer.from(this.#chunk)
    bytes.writeUInt32BE(offset / MiB, 0)
    return bytes
  }
}

const memory = new MemoryStore()
let large: LargeBlob
let cluster: TestCluster
const transfers = new Map<string, StreamTransfer>()

beforeAll(async () => {
  large = new LargeBlob()
  const store: Pick<BlobStore, 'get' | 'stat'> = {
    stat: async (hash) => (await large.stat(hash)) ?? (await memory.stat(hash)),
    get: (hash, options) =>
      hash === large.hash ? large.get(hash, options) : memory.get(hash, options),
  }
  cluster = await startCluster({
    names: ['walnut', 'ironwood'],
    attach: ({ name, log, mesh, registry }) => {
      const transfer = new StreamTransfer({ log, mesh, registry, store }, { stallTimeoutMs: 5_000 })
      transfers.set(name, transfer)
      return [transfer]
    },
  })
})

afterAll(() => cluster.stop())

function source(): { peerId: string; transfer: StreamTransfer } {
  const transfer = transfers.get('ironwood')
  if (!transfer) throw new Error('There is no transfer.')
  return { peerId: cluster.node('walnut').nodeKey.peerId, transfer }
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}

describe('stream-transfer', () => {
  it.each([0, 1, 64 * KiB, MiB - 1, MiB, MiB + 1, 5 * MiB + 7])(
    'moves a blob of %i bytes',
    async (sizeBytes) => {
      const bytes = randomBytes(sizeBytes)
      const { hash } = await memory.put(bytes)
      const { peerId, transfer } = source()
      const remote = await transfer.fetch(peerId, hash)
      expect(remote.sizeBytes).toBe(sizeBytes)
      expect(hashBytes(await collect(remote.body))).toBe(hash)
    },
  )

  it.each([1, MiB - 1, MiB, 2 * MiB + 3, 3 * MiB])('resumes at byte %i', async (start) => {
    const bytes = randomBytes(3 * MiB)
    const { hash } = await memory.put(bytes)
    const { peerId, transfer } = source()
    const { body } = await transfer.fetch(peerId, hash, { start })
    expect((await collect(body)).equals(bytes.subarray(start))).toBe(true)
  })

  it('says that the peer has no such blob and goes on with the same peer', async () => {
    const { peerId, transfer } = source()
    const nobody = transfer.fetch(peerId, 'ab'.repeat(32))
    await expect(nobody).rejects.toBeInstanceOf(BlobNotFoundError)
    const { hash } = await memory.put(Buffer.from('still here'))
    const { body } = await transfer.fetch(peerId, hash)
    expect((await collect(body)).toString()).toBe('still here')
  })

  it('refuses a start after the end and names the size', async () => {
    const { hash } = await memory.put(Buffer.from('12345'))
    const { peerId, transfer } = source()
    const error = await transfer.fetch(peerId, hash, { start: 6 }).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(RangeNotSatisfiableError)
    expect((error as RangeNotSatisfiableError).sizeBytes).toBe(5)
  })

  it('fails at once for a peer that is not connected', async () => {
    const { transfer } = source()
    const stranger = cluster.node('ironwood').nodeKey.peerId
    const fetched = transfer.fetch(stranger, large.hash)
    await expect(fetched).rejects.toBeInstanceOf(PeerUnreachableError)
  })

  it('asks for no more than a slow reader has room for', async () => {
    const { peerId, transfer } = source()
    large.bytesRead = 0
    const { body } = await transfer.fetch(peerId, large.hash)
    const reader = body[Symbol.asyncIterator]()
    await reader.next()
    // With nothing read, the sender must come to rest long before the end.
    let before = -1
    await until(async () => {
      const rested = before === large.bytesRead
      before = large.bytesRead
      await new Promise((resolve) => setTimeout(resolve, 300))
      return rested
    }, 'the sender to rest')
    expect(large.bytesRead).toBeLessThanOrEqual(5 * MiB)
    await reader.return?.()
  })

  it('moves 96 MiB without holding them', async () => {
    const { peerId, transfer } = source()
    const { body } = await transfer.fetch(peerId, large.hash)
    const hasher = createHasher()
    const rss = process.memoryUsage().rss
    let peak = 0
    for await (const chunk of body) {
      hasher.update(chunk)
      peak = Math.max(peak, process.memoryUsage().rss - rss)
    }
    expect(hasher.digestHex()).toBe(large.hash)
    expect(peak).toBeLessThan(80 * MiB)
  })

  it('stops the sender when the caller aborts', async () => {
    const { peerId, transfer } = source()
    const controller = new AbortController()
    const { signal } = controller
    const { body } = await transfer.fetch(peerId, large.hash, { signal })
    const read = (async () => {
      for await (const chunk of body) if (chunk.length > 0) controller.abort(new Error('enough'))
    })()
    await expect(read).rejects.toThrow('enough')
    const { mesh } = cluster.node('ironwood')
    expect(mesh.peers()).toHaveLength(1)
  })

  it('moves 200 small blobs at once', async () => {
    const { peerId, transfer } = source()
    const blobs = await Promise.all(
      Array.from({ length: 200 }, () => memory.put(randomBytes(4 * KiB))),
    )
    for (let first = 0; first < blobs.length; first += 50) {
      const batch = blobs.slice(first, first + 50)
      const hashes = await Promise.all(
        batch.map(async ({ hash }) => {
          const { body } = await transfer.fetch(peerId, hash)
          return hashBytes(await collect(body))
        }),
      )
      expect(hashes).toEqual(batch.map(({ hash }) => hash))
    }
  })

  it('resets a stream that carries something else and serves the next one', async () => {
    const { peerId, transfer } = source()
    const { mesh } = cluster.node('ironwood')
    const signal = AbortSignal.timeout(10_000)
    const stream = await mesh.openStream(peerId, BLOB_PROTOCOL, { signal, outboundMax: 8 })
    const frames = framed(stream, { frameBytesMax: 1024 })
    await frames.write(Buffer.from('GET / HTTP/1.1'))
    await expect(frames.read({ signal })).rejects.toThrow()
    const { hash } = await memory.put(Buffer.from('served'))
    const { body } = await transfer.fetch(peerId, hash)
    expect((await collect(body)).toString()).toBe('served')
  })
})
