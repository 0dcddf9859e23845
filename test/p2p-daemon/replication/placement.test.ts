import { describe, expect, it } from 'vitest'

import { hashBytes } from '../../../shared/blob/hash.ts'
import {
  place,
  quorumOf,
  rank,
  type StorageNode,
} from '../../../p2p-daemon/replication/placement.ts'

function nodes(count: number, init: Partial<StorageNode> = {}): StorageNode[] {
  return Array.from({ length: count }, (_, index) => ({
    peerId: `peer-${index}`,
    weight: 1,
    zone: 'default',
    ...init,
  }))
}

const KEYS = Array.from({ length: 20_000 }, (_, index) => hashBytes(Buffer.from(`key ${index}`)))

function primaries(members: StorageNode[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const key of KEYS) {
    const [first] = rank(members, key)
    counts.set(first!.peerId, (counts.get(first!.peerId) ?? 0) + 1)
  }
  return counts
}

describe('placement', () => {
  it('gives every node its share of the weight', () => {
    const members = nodes(5)
    members[0]!.weight = 4
    const counts = primaries(members)
    const total = 8
    for (const node of members) {
      const ideal = (KEYS.length * node.weight) / total
      expect(Math.abs(counts.get(node.peerId)! - ideal) / ideal).toBeLessThan(0.1)
    }
  })

  it('gives nothing to a node of weight 0', () => {
    const members = nodes(3)
    members[1]!.weight = 0
    expect(primaries(members).has('peer-1')).toBe(false)
  })

  it('moves only what the newcomer wins', () => {
    const before = nodes(9)
    const after = nodes(10)
    let moved = 0
    for (const key of KEYS) {
      const old = rank(before, key)[0]!.peerId
      const now = rank(after, key)[0]!.peerId
      if (old === now) continue
      moved += 1
      expect(now).toBe('peer-9')
    }
    const ideal = KEYS.length / 10
    expect(Math.abs(moved - ideal) / ideal).toBeLessThan(0.1)
  })

  it('is the same whatever order the nodes come in', () => {
    const members = nodes(7)
    for (const key of KEYS.slice(0, 200)) {
      expect(place(members.toReversed(), key, 3)).toEqual(place(members, key, 3))
    }
  })

  it('spreads copies over zones before it repeats one', () => {
    const members = nodes(9).map((node, index) => ({ ...node, zone: `zone-${index % 3}` }))
    for (const key of KEYS.slice(0, 500)) {
      const zones = new Set(place(members, key, 3).map((node) => node.zone))
      expect(zones.size).toBe(3)
    }
  })

  it('still finds three holders where there are two zones', () => {
    const members = nodes(4).map((node, index) => ({ ...node, zone: `zone-${index % 2}` }))
    for (const key of KEYS.slice(0, 200)) {
      const holders = place(members, key, 3)
      expect(new Set(holders.map((node) => node.peerId)).size).toBe(3)
      expect(new Set(holders.map((node) => node.zone)).size).toBe(2)
    }
  })

  it('takes all there are when there are fewer than the copies', () => {
    expect(place(nodes(2), KEYS[0]!, 3)).toHaveLength(2)
    expect(place([], KEYS[0]!, 3)).toEqual([])
  })

  it('needs more than half', () => {
    expect([1, 2, 3, 4, 5].map(quorumOf)).toEqual([1, 2, 2, 3, 3])
  })
})
