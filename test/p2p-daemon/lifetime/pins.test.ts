import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import type { Claim } from '../../../p2p-daemon/lifetime/claim.ts'
import {
  CLAIMS_PER_MESSAGE_MAX,
  EXPIRED_KEEP_MS,
  TOMBSTONE_KEEP_MS,
} from '../../../p2p-daemon/lifetime/constants.ts'
import { PinStore } from '../../../p2p-daemon/lifetime/pin-store.ts'
import { createLifetimeNode, ManualClock, type LifetimeNode } from '../../helpers/lifetime-node.ts'
import { MemoryNetwork } from '../../helpers/memory-mesh.ts'

const WHO = { subject: 'tester', reason: 'a test' }
const BYTES = Buffer.from('pinned')
const HASH = hashBytes(BYTES)

let clock: ManualClock
let network: MemoryNetwork
let nodes: LifetimeNode[]

beforeEach(async () => {
  clock = new ManualClock()
  network = new MemoryNetwork()
  nodes = ['a', 'b', 'c'].map((peerId) =>
    createLifetimeNode(network, { peerId, clock, graceMs: 1_000 }),
  )
  await nodes[0]!.store.put(BYTES)
})

afterEach(() => {
  for (const node of nodes) node.close()
})

function pinAt(index: number): Claim | undefined {
  return nodes[index]!.lifetime.pins.find('pin', HASH)
}

async function meet(left: LifetimeNode, right: LifetimeNode): Promise<void> {
  await left.lifetime.sync.pull(right.peerId)
  await right.lifetime.sync.pull(left.peerId)
}

describe('pins', () => {
  it('are known to every node once they are acknowledged', async () => {
    const { pin, created } = await nodes[1]!.lifetime.pins.pin(HASH, WHO)
    expect(created).toBe(true)
    for (const index of [0, 1, 2]) expect(pinAt(index)).toEqual(pin)
    const again = await nodes[2]!.lifetime.pins.pin(HASH, { ...WHO, reason: 'still' })
    expect(again).toMatchObject({ created: false, pin: { createdMs: pin.createdMs } })
    expect(pinAt(0)?.reason).toBe('still')
    await nodes[0]!.lifetime.pins.unpin(HASH)
    for (const index of [0, 1, 2]) expect(pinAt(index)).toBeUndefined()
    await expect(nodes[1]!.lifetime.pins.unpin(HASH)).rejects.toMatchObject({
      code: 'BZZZ_PIN_NOT_FOUND',
    })
  })

  it('refuse a blob that nobody has', async () => {
    const unknown = hashBytes(Buffer.from('nowhere'))
    await expect(nodes[0]!.lifetime.pins.pin(unknown, WHO)).rejects.toMatchObject({
      code: 'BZZZ_BLOB_NOT_FOUND',
    })
    await expect(nodes[0]!.lifetime.pins.lease(unknown, 1_000, WHO)).rejects.toMatchObject({
      code: 'BZZZ_BLOB_NOT_FOUND',
    })
  })

  it('need a quorum of all members', async () => {
    network.isolate('c')
    await nodes[0]!.lifetime.pins.pin(HASH, WHO)
    network.isolate('b')
    await expect(nodes[0]!.lifetime.pins.unpin(HASH)).rejects.toMatchObject({
      code: 'BZZZ_PARTITION_MINORITY',
    })
    expect(pinAt(0)).toBeDefined()
  })

  it('reach a node that was away, from any other that knows', async () => {
    network.isolate('c')
    await nodes[0]!.lifetime.pins.pin(HASH, WHO)
    network.heal('c')
    network.isolate('a')
    expect(pinAt(2)).toBeUndefined()
    await meet(nodes[1]!, nodes[2]!)
    expect(pinAt(2)).toEqual(pinAt(1))
  })

  it('do not come back from a node that missed the end of one', async () => {
    await nodes[0]!.lifetime.pins.pin(HASH, WHO)
    network.isolate('c')
    clock.nowMs += 10
    await nodes[0]!.lifetime.pins.unpin(HASH)
    network.heal('c')
    expect(pinAt(2)).toBeDefined()
    await meet(nodes[0]!, nodes[2]!)
    await meet(nodes[1]!, nodes[2]!)
    for (const index of [0, 1, 2]) expect(pinAt(index)).toBeUndefined()
  })

  it('end by a later write, whatever the clock of the first writer showed', async () => {
    clock.nowMs += 3_600_000
    await nodes[0]!.lifetime.pins.pin(HASH, WHO)
    clock.nowMs -= 3_600_000
    await nodes[1]!.lifetime.pins.unpin(HASH)
    for (const index of [0, 1, 2]) expect(pinAt(index)).toBeUndefined()
  })

  it('are pulled over more than one message', async () => {
    network.isolate('c')
    const count = CLAIMS_PER_MESSAGE_MAX * 2 + 7
    for (let index = 0; index < count; index += 1) {
      await nodes[0]!.lifetime.pins.holdGC(`hold-${index}`, 60_000, WHO)
    }
    network.heal('c')
    expect(await nodes[2]!.lifetime.sync.pull('a')).toBe(count)
    expect(await nodes[2]!.lifetime.sync.pull('a')).toBe(0)
    expect(nodes[2]!.lifetime.pins.page('hold', '', 1_000)).toHaveLength(count)
  })
})

describe('leases and holds', () => {
  it('end when their time is over, or before', async () => {
    const { pins } = nodes[0]!.lifetime
    const lease = await pins.lease(HASH, 1_000, WHO)
    const other = await pins.lease(HASH, 5_000, WHO)
    await pins.release(other.key)
    clock.nowMs += 999
    expect(nodes[2]!.lifetime.pins.find('lease', lease.key)?.hash).toBe(HASH)
    clock.nowMs += 1
    expect(nodes[2]!.lifetime.pins.find('lease', lease.key)).toBeUndefined()
    await expect(pins.release(lease.key)).rejects.toMatchObject({ code: 'BZZZ_LEASE_NOT_FOUND' })
    await expect(pins.release(other.key)).rejects.toMatchObject({ code: 'BZZZ_LEASE_NOT_FOUND' })
  })

  it('hold collections on every node until they are taken back', async () => {
    await nodes[0]!.lifetime.pins.holdGC('backup', 60_000, WHO)
    const { collector } = nodes[2]!.lifetime
    expect(() => collector.collect({ dryRun: false })).toThrow(
      expect.objectContaining({ code: 'BZZZ_GC_HELD' }),
    )
    expect((await collector.collect({ dryRun: true }).done).outcome).toBe('done')
    await nodes[1]!.lifetime.pins.unholdGC('backup')
    expect((await collector.collect({ dryRun: false }).done).outcome).toBe('done')
    await expect(nodes[1]!.lifetime.pins.unholdGC('backup')).rejects.toMatchObject({
      code: 'BZZZ_HOLD_NOT_FOUND',
    })
  })
})

describe('pin-store', () => {
  const base: Claim = {
    kind: 'lease',
    key: 'id',
    hash: HASH,
    subject: '',
    reason: '',
    createdMs: 0,
    expiresMs: 5_000,
    updatedMs: 1_000,
    peerId: 'a',
    deleted: false,
  }

  it('comes to the same in whatever order claims arrive', () => {
    const claims = fc.array(
      fc.record({
        updatedMs: fc.integer({ min: 0, max: 5 }),
        peerId: fc.constantFrom('a', 'b', 'c'),
        deleted: fc.boolean(),
      }),
      { minLength: 2, maxLength: 8 },
    )
    fc.assert(
      fc.property(claims, fc.infiniteStream(fc.nat()), (changes, random) => {
        // One writer writes one thing at one time.
        const unique = new Map(changes.map((each) => [`${each.updatedMs} ${each.peerId}`, each]))
        const all = [...unique.values()].map((change) => ({ ...base, ...change }))
        const shuffled = all
          .map((claim) => ({ claim, place: random.next().value as number }))
          .toSorted((a, b) => a.place - b.place)
          .map(({ claim }) => claim)
        const [left, right] = [new PinStore(':memory:'), new PinStore(':memory:')]
        for (const claim of all) left.apply(claim, 10)
        for (const claim of shuffled) right.apply(claim, 10)
        expect(right.find('lease', 'id')).toEqual(left.find('lease', 'id'))
        left.close()
        right.close()
      }),
      { numRuns: 60 },
    )
  })

  it('forgets what is long over and does not take it back', () => {
    const store = new PinStore(':memory:')
    const tombstone: Claim = { ...base, kind: 'pin', key: HASH, expiresMs: null, deleted: true }
    store.apply({ ...tombstone, deleted: false, updatedMs: 999 }, 1_000)
    store.apply(tombstone, 1_000)
    store.apply(base, 1_000)
    expect(store.purge(5_000 + EXPIRED_KEEP_MS)).toBe(0)
    expect(store.purge(5_001 + EXPIRED_KEEP_MS)).toBe(1)
    expect(store.purge(1_000 + TOMBSTONE_KEEP_MS)).toBe(0)
    expect(store.purge(1_001 + TOMBSTONE_KEEP_MS)).toBe(1)
    expect(store.apply(tombstone, 1_001 + TOMBSTONE_KEEP_MS)).toBe(false)
    expect(store.apply(base, 5_001 + EXPIRED_KEEP_MS)).toBe(false)
    expect(store.since(0, 10)).toEqual([])
    store.close()
  })

  it('keeps claims over a restart under the same epoch', () => {
    const dir = mkdtempSync(join(tmpdir(), 'bzzz-pins-'))
    const before = new PinStore(join(dir, 'pins.db'))
    before.apply(base, 0)
    before.close()
    const after = new PinStore(join(dir, 'pins.db'))
    expect(after.epoch).toBe(before.epoch)
    expect(after.find('lease', 'id')).toEqual(base)
    expect(after.roots(0, 10, 4_999).map(({ hash }) => hash)).toEqual([HASH])
    expect(after.roots(0, 10, 5_000)).toEqual([])
    after.close()
    rmSync(dir, { recursive: true })
  })
})
