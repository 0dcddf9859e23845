import { describe, expect, it } from 'vitest'

import { REPLICAS } from '../../../shared/limits.ts'
import {
  place,
  Placement,
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

const KEYS = keys(10_000)

function keys(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `key ${index}`)
}

function primaries(members: StorageNode[]): Map<string, number> {
  return countCopies(members, KEYS, 1)
}

/** Copies that each node gets. */
function countCopies(
  members: readonly StorageNode[],
  all: readonly string[],
  copies: number,
): Map<string, number> {
  const counts = new Map(members.map(({ peerId }) => [peerId, 0]))
  const placement = new Placement(members)
  for (const key of all) {
    for (const { peerId } of placement.place(key, copies)) {
      counts.set(peerId, counts.get(peerId)! + 1)
    }
  }
  return counts
}

/** The largest deviation from what a node should get, as a share of it. */
function deviation(
  members: readonly StorageNode[],
  counts: ReadonlyMap<string, number>,
  ideal: (node: StorageNode) => number,
): number {
  return Math.max(
    ...members.map((node) => Math.abs(counts.get(node.peerId)! - ideal(node)) / ideal(node)),
  )
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
    expect(primaries(members).get('peer-1')).toBe(0)
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

  it('never changes: nodes of different releases must agree', () => {
    const members = nodes(6).map((node, index) => ({ ...node, weight: 1 + (index % 3) }))
    const ids = (placed: StorageNode[]): string => placed.map(({ peerId }) => peerId).join(' ')
    const placed = KEYS.slice(0, 4).map((key) => ids(place(members, key, 3)))
    expect(placed).toEqual([
      'peer-1 peer-0 peer-4',
      'peer-3 peer-1 peer-4',
      'peer-5 peer-1 peer-4',
      'peer-4 peer-5 peer-2',
    ])
    const ranked = ids(rank(members, 'walnut/plan.md'))
    expect(ranked).toBe('peer-5 peer-1 peer-0 peer-2 peer-4 peer-3')
  })

  it('ranks in the order in which it places, where there is one zone', () => {
    const members = nodes(9).map((node, index) => ({ ...node, weight: 1 + (index % 4) }))
    for (const key of KEYS.slice(0, 500)) {
      expect(place(members, key, 5)).toEqual(rank(members, key).slice(0, 5))
    }
  })

  it('needs more than half', () => {
    expect([1, 2, 3, 4, 5].map(quorumOf)).toEqual([1, 2, 2, 3, 3])
  })
})

/** A thousand nodes take five seconds, more on a machine that is busy with other tests. */
const SIMULATION_TIMEOUT_MS = 600_000

/**
 * Enough that chance alone stays below a tenth: the standard deviation of 1,500 copies is 2.6 % of
 * them, and the worst of a thousand nodes is three to four of those away.
 */
const COPIES_PER_NODE = 1_500

describe('placement of whole clusters', () => {
  it.each([3, 5, 10, 30, 100, 300, 1000])(
    'gives each of %i nodes its share, and a newcomer as much, from the others',
    (count) => {
      const before = nodes(count)
      const after = nodes(count + 1)
      const all = keys(Math.ceil(((count + 1) * COPIES_PER_NODE) / REPLICAS))
      const counts = countCopies(after, all, REPLICAS)
      const ideal = (all.length * REPLICAS) / (count + 1)
      expect(deviation(after, counts, () => ideal)).toBeLessThan(0.1)

      // What the newcomer got is what moved, if nothing else did; a sample is enough for that.
      const newcomer = after.at(-1)!.peerId
      const [old, now] = [new Placement(before), new Placement(after)]
      for (const key of all.slice(0, 2_000)) {
        const was = old.place(key, REPLICAS).map(({ peerId }) => peerId)
        const gained = now
          .place(key, REPLICAS)
          .map(({ peerId }) => peerId)
          .filter((peerId) => !was.includes(peerId))
        if (gained.length > 0) expect(gained).toEqual([newcomer])
      }
    },
    SIMULATION_TIMEOUT_MS,
  )

  it.each([3, 10, 60])('follows the weights of %i nodes from 1 to 4', (count) => {
    const members = nodes(count).map((node, index) => ({ ...node, weight: 1 + (index % 4) }))
    const weights = members.reduce((sum, { weight }) => sum + weight, 0)
    const all = keys(weights * COPIES_PER_NODE)
    const counts = countCopies(members, all, 1)
    const ideal = ({ weight }: StorageNode): number => (all.length * weight) / weights
    expect(deviation(members, counts, ideal)).toBeLessThan(0.1)
  })

  it('keeps all copies near the weights where no node is larger than a third', () => {
    const members = nodes(30).map((node, index) => ({ ...node, weight: 1 + (index % 2) }))
    const weights = members.reduce((sum, { weight }) => sum + weight, 0)
    const all = keys(20_000)
    const counts = countCopies(members, all, REPLICAS)
    const ideal = ({ weight }: StorageNode): number => (all.length * REPLICAS * weight) / weights
    expect(deviation(members, counts, ideal)).toBeLessThan(0.1)
  })

  it('takes from the zones alike when a node joins one of three', () => {
    const zoned = (count: number): StorageNode[] =>
      nodes(count).map((node, index) => ({ ...node, zone: `zone-${index % 3}` }))
    const [before, after] = [new Placement(zoned(30)), new Placement(zoned(31))]
    const all = keys(20_000)
    let moved = 0
    for (const key of all) {
      const was = before.place(key, REPLICAS).map(({ peerId }) => peerId)
      const now = after.place(key, REPLICAS).map(({ peerId }) => peerId)
      const gained = now.filter((peerId) => !was.includes(peerId))
      moved += gained.length
      if (gained.length > 0) expect(gained).toEqual(['peer-30'])
    }
    // One copy of each key lies in its zone of now eleven nodes.
    const ideal = all.length / 11
    expect(Math.abs(moved - ideal) / ideal).toBeLessThan(0.1)
  })
})
