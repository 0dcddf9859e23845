import { beforeEach, describe, expect, it } from 'vitest'

import {
  agreesOnTime,
  reachOf,
  reportPartition,
  requireMajority,
} from '../../../p2p-daemon/mesh/partition.ts'
import type { Logger } from '../../../shared/log/log.ts'
import { MemoryNetwork } from '../../helpers/memory-mesh.ts'

let network: MemoryNetwork

beforeEach(() => {
  network = new MemoryNetwork()
})

function cluster(count: number) {
  const names = Array.from({ length: count }, (_, index) => `n${index}`)
  return names.map((name) => network.join(name))
}

describe('reachOf', () => {
  it('needs more than half of all members, this node included', () => {
    const needed = [1, 2, 3, 4, 5, 30].map((members) => {
      network = new MemoryNetwork()
      return reachOf(cluster(members)[0]!).needed
    })
    expect(needed).toEqual([1, 2, 2, 3, 3, 16])
  })

  it('never calls a cluster of one a minority', () => {
    const [alone] = cluster(1)
    expect(reachOf(alone!)).toEqual({ members: 1, inReach: 1, needed: 1, partition: 'none' })
  })

  it('calls either of two nodes a minority when they are apart', () => {
    const [left, right] = cluster(2)
    expect(reachOf(left!).partition).toBe('none')
    network.isolate('n1')
    expect([reachOf(left!).partition, reachOf(right!).partition]).toEqual(['minority', 'minority'])
  })

  it('gives at most one side of a partition the majority', () => {
    const nodes = cluster(4)
    network.isolate('n3')
    expect(nodes.map((node) => reachOf(node).partition)).toEqual([
      'none',
      'none',
      'none',
      'minority',
    ])
    network.isolate('n2')
    expect(nodes.map((node) => reachOf(node).partition)).toEqual(
      Array.from({ length: 4 }, () => 'minority'),
    )
  })
})

describe('requireMajority', () => {
  it('throws with what is in reach and what is needed', () => {
    const [node] = cluster(3)
    requireMajority(node!)
    network.isolate('n1')
    requireMajority(node!)
    network.isolate('n2')
    expect(() => requireMajority(node!)).toThrow(
      expect.objectContaining({
        code: 'BZZZ_PARTITION_MINORITY',
        message: 'This node reaches 1 of 3 nodes, and a write needs 2 of them.',
      }),
    )
  })
})

describe('agreesOnTime', () => {
  const seen = (...clocks: (number | null)[]) => ({
    expectedPeers: () => clocks.map((_, index) => `n${index}`),
    peers: () => clocks.map((clockAheadMs) => ({ clockAheadMs })) as never,
  })

  it('takes a majority of the members, this node among them', () => {
    expect(agreesOnTime(seen(10, 259_200_000), 60_000)).toBe(true)
    expect(agreesOnTime(seen(-259_200_000, -259_200_010), 60_000)).toBe(false)
    expect(agreesOnTime(seen(null, 259_200_000), 60_000)).toBe(false)
    expect(agreesOnTime(seen(0, 0, null, null), 60_000)).toBe(true)
    expect(agreesOnTime(seen(0, null, null, null), 60_000)).toBe(false)
  })

  it('is not to be had alone', () => {
    expect(agreesOnTime(seen(), 60_000)).toBe(false)
  })
})

describe('reportPartition', () => {
  it('says once that the node is cut off and once that it is not', () => {
    const [node] = cluster(3)
    const said: string[] = []
    const log = {
      child: () => ({
        warn: (_: unknown, message: string) => said.push(`warn: ${message}`),
        info: (_: unknown, message: string) => said.push(`info: ${message}`),
      }),
    } as unknown as Logger
    reportPartition({ mesh: node!, log })
    network.isolate('n1')
    network.isolate('n2')
    network.heal('n1')
    network.heal('n2')
    expect(said).toEqual([
      'warn: cut off from the majority, writes are refused',
      'info: the majority is in reach again',
    ])
  })
})
