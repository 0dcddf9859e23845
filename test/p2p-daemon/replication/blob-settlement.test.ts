import { beforeEach, describe, expect, it } from 'vitest'

import { BlobSettlement } from '../../../p2p-daemon/replication/blob-settlement.ts'
import { DropGuard } from '../../../p2p-daemon/replication/drop-guard.ts'
import type { Members } from '../../../p2p-daemon/replication/members.ts'
import { quorumOf } from '../../../p2p-daemon/replication/placement.ts'
import type { RepairJob } from '../../../p2p-daemon/replication/repair-queue.ts'
import type { ReplicaClient } from '../../../p2p-daemon/replication/replica-client.ts'
import { ReplicatedStore } from '../../../p2p-daemon/replication/replicated-store.ts'
import { TokenBucket } from '../../../p2p-daemon/replication/token-bucket.ts'
import { MemoryStore } from '../../../p2p-daemon/store/memory-store.ts'
import { PeerUnreachableError } from '../../../shared/errors.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { until } from '../../helpers/mesh.ts'

const PEERS = ['a', 'b', 'c']

let store: MemoryStore
let hash: string
let holders: string[]
let live: Set<string>
/** What the peers hold, and who refuses to promise. */
let held: Set<string>
let refusing: Set<string>
/** Peers that do not answer, though nobody has noticed yet. */
let silent: Set<string>
let guard: DropGuard
let canDrop: boolean

const members = {
  requireMajority: () => undefined,
  selfId: 'self',
  holders: () => holders,
  liveHolders: () => holders.filter((peerId) => live.has(peerId)),
  isLive: (peerId: string) => peerId === 'self' || live.has(peerId),
  isComplete: () => live.size === PEERS.length,
  copiesPossible: () => Math.min(3, holders.length),
  list: () => PEERS.map((peerId) => ({ peerId, live: live.has(peerId) })),
} as unknown as Members

const client = {
  have: async (peerId: string) => {
    if (!live.has(peerId) || silent.has(peerId)) throw new PeerUnreachableError('away')
    return held.has(peerId) ? 4 : null
  },
  hold: async (peerId: string) => void held.add(peerId),
  keep: async (peerId: string) => held.has(peerId) && !refusing.has(peerId),
} as unknown as ReplicaClient

/** What this node was told of the copies of its only blob. */
const known = new Set<string>()
const copies = {
  held: (_hash: string, peerId: string) => void known.add(peerId),
  lacks: (_hash: string, peerId: string) => void known.delete(peerId),
  holders: () => [...known],
} as never
const log = createSilentLogger()

function settle(more: Partial<RepairJob> = {}) {
  const pulls = {
    pull: async () => {
      const found = held.size > 0
      if (found) await store.put(Buffer.from('blob'))
      return { found, moved: found, lacking: [] }
    },
  }
  const bucket = new TokenBucket({ bytesPerSecond: 1e9 })
  const settlement = new BlobSettlement(
    { store, members, client, pulls, copies, guard, bucket, log, canDrop: () => canDrop },
    { dropRetryMs: 7, promiseMs: 10_000 },
  )
  const job = { hash, sizeBytes: 4, reason: 'membership' as const, attempts: 0, releases: 0 }
  return settlement.settle({ ...job, ...more }, new AbortController().signal)
}

beforeEach(async () => {
  store = new MemoryStore()
  hash = (await store.put(Buffer.from('blob'))).hash
  holders = [...PEERS]
  live = new Set(PEERS)
  held = new Set(PEERS)
  refusing = new Set()
  silent = new Set()
  known.clear()
  canDrop = true
  guard = new DropGuard({ promiseMs: 1 })
  await until(() => guard.keptForMs(hash) === 0, 'the quiet after a start to end')
})

describe('blob-settlement', () => {
  it('drops a copy that does not belong here once all holders promise to keep theirs', async () => {
    expect(await settle()).toEqual({ state: 'done', result: 'dropped' })
    expect(await store.stat(hash)).toBeUndefined()
  })

  it('keeps it when a holder does not promise', async () => {
    refusing.add('b')
    expect(await settle()).toEqual({ state: 'later', delayMs: 7 })
    expect(await store.stat(hash)).toBeDefined()
  })

  it('keeps it while it has promised so itself', async () => {
    guard = new DropGuard({ promiseMs: 60_000 })
    guard.promise(hash)
    expect(await settle()).toMatchObject({ state: 'later' })
    expect(await store.stat(hash)).toBeDefined()
  })

  it('keeps it while nothing may be dropped, also when that begins in between', async () => {
    canDrop = false
    expect(await settle()).toEqual({ state: 'later', delayMs: 7 })
    canDrop = true
    const keep = client.keep.bind(client)
    client.keep = async (...args) => {
      canDrop = false
      return keep(...args)
    }
    expect(await settle()).toEqual({ state: 'later', delayMs: 7 })
    client.keep = keep
    expect(await store.stat(hash)).toBeDefined()
  })

  it('keeps it where there are fewer than three holders', async () => {
    holders = ['a', 'b']
    expect(await settle()).toEqual({ state: 'done', result: 'unneeded' })
    expect(await store.stat(hash)).toBeDefined()
  })

  it('gives holders what they lack, and waits for those that are away', async () => {
    holders = ['self', 'a', 'b']
    held = new Set()
    live.delete('b')
    expect(await settle()).toEqual({ state: 'waiting', waitingFor: ['b'], missing: 1, short: 1 })
    expect(held).toEqual(new Set(['a']))
    live.add('b')
    expect(await settle()).toEqual({ state: 'done', result: 'repaired' })
    expect(await settle()).toEqual({ state: 'done', result: 'unneeded' })
  })

  it('counts no copy as missing that a node held when it went away', async () => {
    expect(known.size).toBe(0)
    refusing.add('b')
    await settle()
    live.delete('b')
    expect(await settle()).toMatchObject({ state: 'waiting', waitingFor: ['b'], missing: 0 })
    live.add('b')
    silent.add('b')
    expect(await settle()).toMatchObject({ state: 'failed', missing: 0 })
    known.delete('b')
    expect(await settle()).toMatchObject({ state: 'failed', missing: 1 })
  })

  it('fetches what belongs here', async () => {
    holders = ['self', 'a', 'b']
    await store.delete(hash)
    expect(await settle()).toEqual({ state: 'done', result: 'repaired' })
    expect(await store.stat(hash)).toBeDefined()
  })

  it('gives a blob up only when everybody is here and nobody has it', async () => {
    holders = ['self', 'a', 'b']
    await store.delete(hash)
    held = new Set()
    live.delete('c')
    expect(await settle()).toMatchObject({ state: 'waiting', waitingFor: ['c'], missing: 1 })
    live.add('c')
    expect(await settle()).toEqual({ state: 'done', result: 'lost' })
  })

  it('leaves alone what is neither here nor belongs here', async () => {
    await store.delete(hash)
    expect(await settle()).toEqual({ state: 'done', result: 'unneeded' })
    expect(await store.stat(hash)).toBeUndefined()
  })

  it('says which holder could not be reached', async () => {
    held.delete('c')
    const hold = client.hold.bind(client)
    client.hold = () => Promise.reject(new PeerUnreachableError('refused'))
    expect(await settle()).toMatchObject({ state: 'failed', missing: 1 })
    client.hold = hold
    expect(await store.stat(hash)).toBeDefined()
  })
})

describe('a put whose holders never answer', () => {
  it('answers 503 when the time is over', async () => {
    holders = ['self', 'a', 'b']
    const never = () => new Promise<void>(() => undefined)
    const mute = { ...client, hold: never }
    const copyPushes = { push: never }
    const queue = {
      add: async () => undefined,
      addSoon: () => undefined,
      removeSoon: () => undefined,
    }
    const blobs = new ReplicatedStore(
      {
        ...{ store, members, client: mute as never, copyPushes, pulls: {} as never },
        ...{ queue, copies, log },
      },
      { ackTimeoutMs: 20 },
    )
    expect(quorumOf(3)).toBe(2)
    await expect(blobs.put(Buffer.from('x'))).rejects.toMatchObject({
      code: 'BZZZ_QUORUM_NOT_REACHED',
    })
  })
})
