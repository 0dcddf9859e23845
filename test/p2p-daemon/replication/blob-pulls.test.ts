import { randomBytes } from 'node:crypto'

import { beforeEach, describe, expect, it } from 'vitest'

import { BlobPulls } from '../../../p2p-daemon/replication/blob-pulls.ts'
import { TokenBucket } from '../../../p2p-daemon/replication/token-bucket.ts'
import { MemoryStore } from '../../../p2p-daemon/store/memory-store.ts'
import type { RemoteBlob } from '../../../p2p-daemon/transfer/blob-transfer.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import { BlobNotFoundError, PeerUnreachableError } from '../../../shared/errors.ts'

const bytes = randomBytes(100_000)
const hash = hashBytes(bytes)
const peers = ['first', 'second', 'third']

type Source = (start: number, signal: AbortSignal) => Promise<AsyncIterable<Uint8Array>>

let store: MemoryStore
let sources: Record<string, Source>
let fetches: { peerId: string; start: number }[]
let pulls: BlobPulls
let here: string[]
let expected: string[]
let searches: number

beforeEach(() => {
  store = new MemoryStore()
  sources = {}
  fetches = []
  here = peers
  expected = peers
  searches = 0
  pulls = new BlobPulls(
    {
      store,
      mesh: {
        self: { peerId: 'self' } as never,
        peers: () => here.map((peerId) => ({ peerId }) as never),
        expectedPeers: () => expected,
      },
      async *findProviders() {
        searches += 1
        here = expected
        yield* ['first', 'late', 'away']
      },
      members: { holders: () => ['self', ...peers], isLive: () => true },
      transfer: {
        fetch: async (peerId, _hash, { start = 0, signal } = {}): Promise<RemoteBlob> => {
          fetches.push({ peerId, start })
          const source = sources[peerId]
          if (!source) throw new BlobNotFoundError('not here')
          return { hash, sizeBytes: bytes.length, body: await source(start, signal!) }
        },
      },
    },
    { hedgeDelayMs: 10 },
  )
})

/** Gives `all` from where it is asked to, and breaks off at `end`. */
function giving(all: Buffer, end = all.length): Source {
  return async (start) =>
    (async function* () {
      for (let at = start; at < end; at += 10_000)
        yield all.subarray(at, Math.min(at + 10_000, end))
      if (end < all.length) throw new PeerUnreachableError('broke off')
    })()
}

const silent: Source = (_start, signal) =>
  new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error))
  })

describe('blob-pulls', () => {
  it('asks the holders in order and says who lacks the blob', async () => {
    sources['third'] = giving(bytes)
    const pulled = await pulls.pull(hash)
    expect(pulled).toEqual({ found: true, moved: true, lacking: ['first', 'second'] })
    expect(fetches.map(({ peerId }) => peerId)).toEqual(peers)
    expect(await store.stat(hash)).toBeDefined()
  })

  it('finds nothing where nobody has it', async () => {
    expect(await pulls.pull(hash)).toEqual({ found: false, moved: false, lacking: peers })
  })

  it('does not fetch what is here', async () => {
    await store.put(bytes)
    expect(await pulls.pull(hash)).toMatchObject({ found: true, moved: false })
    expect(fetches).toEqual([])
  })

  it('says that it could not ask, rather than that nobody has it', async () => {
    sources['second'] = () => Promise.reject(new PeerUnreachableError('away'))
    await expect(pulls.pull(hash)).rejects.toMatchObject({ code: 'BZZZ_PEER_UNREACHABLE' })
  })

  it('asks the next when one does not begin to answer, and lets the slow one go', async () => {
    let isLetGo = false
    sources['first'] = (start, signal) => {
      signal.addEventListener('abort', () => (isLetGo = true))
      return silent(start, signal)
    }
    sources['second'] = giving(bytes)
    expect(await pulls.pull(hash)).toMatchObject({ found: true })
    expect(fetches.map(({ peerId }) => peerId)).toEqual(['first', 'second'])
    expect(isLetGo).toBe(true)
  })

  it('goes on at the same byte when a source breaks off', async () => {
    sources['first'] = giving(bytes, 30_000)
    sources['second'] = giving(bytes, 60_000)
    sources['third'] = giving(bytes)
    expect(await pulls.pull(hash)).toMatchObject({ found: true })
    expect(fetches).toEqual([
      { peerId: 'first', start: 0 },
      { peerId: 'second', start: 30_000 },
      { peerId: 'third', start: 60_000 },
    ])
  })

  it('stores nothing of a source that gives other bytes, and asks the others', async () => {
    sources['first'] = giving(randomBytes(bytes.length))
    sources['second'] = giving(bytes)
    expect(await pulls.pull(hash)).toMatchObject({ found: true })
    expect(fetches.map(({ peerId }) => peerId)).toEqual(['first', 'second'])
    expect(await store.verify(hash)).toBe(true)
  })

  it('tries each alone when what several gave together is wrong', async () => {
    const wrong = Buffer.from(bytes)
    wrong[0]! ^= 1
    sources['first'] = giving(wrong, 30_000)
    sources['second'] = giving(bytes)
    expect(await pulls.pull(hash)).toMatchObject({ found: true })
    expect(await store.verify(hash)).toBe(true)
  })

  it('fails when all who have something have something else', async () => {
    for (const peerId of peers) sources[peerId] = giving(randomBytes(bytes.length))
    await expect(pulls.pull(hash)).rejects.toMatchObject({ code: 'BZZZ_HASH_MISMATCH' })
    expect(await store.usage()).toEqual({ blobs: 0, bytes: 0 })
    expect(fetches).toHaveLength(3)
  })

  it('keeps to the rate it is given', async () => {
    sources['first'] = giving(bytes)
    // A tenth of the blob is in the bucket, the rest has to be earned at 200,000 bytes a second.
    const bucket = new TokenBucket({ bytesPerSecond: 200_000 })
    await bucket.take(190_000)
    const startedMs = performance.now()
    await pulls.pull(hash, { bucket })
    expect(performance.now() - startedMs).toBeGreaterThan(350)
  })

  it('stops at once when the only one who waits leaves', async () => {
    sources['first'] = silent
    const leaving = new AbortController()
    const pulling = pulls.pull(hash, { from: ['first'], signal: leaving.signal })
    leaving.abort(new Error('left'))
    await expect(pulling).rejects.toThrow('left')
  })

  it('asks who announced the blob when nobody else has it', async () => {
    expected = [...peers, 'late']
    sources['late'] = giving(bytes)
    expect(await pulls.pull(hash)).toEqual({ found: true, moved: true, lacking: peers })
    expect(fetches.map(({ peerId }) => peerId)).toEqual([...peers, 'late'])
    expect(searches).toBe(1)
  })

  it('does not search where everybody was asked or the caller says whom to ask', async () => {
    expect(await pulls.pull(hash)).toMatchObject({ found: false })
    expected = [...peers, 'late']
    expect(await pulls.pull(hash, { from: ['first'] })).toMatchObject({ found: false })
    expect(searches).toBe(0)
  })
})
