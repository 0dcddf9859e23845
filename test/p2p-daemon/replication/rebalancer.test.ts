import { rmSync } from 'node:fs'

import { afterEach, describe, expect, it } from 'vitest'

import { until } from '../../helpers/mesh.ts'
import { ReplicaCluster } from '../../helpers/replica-cluster.ts'

let cluster: ReplicaCluster

afterEach(() => cluster.dispose())

/** Puts through one node after the other; the hashes, in order. */
async function fill(count: number): Promise<string[]> {
  const nodes = cluster.live()
  const puts = Array.from({ length: count }, async (_, index) => {
    const { peerId } = nodes[index % nodes.length]!
    return cluster.running(peerId).blobs.put(Buffer.from(`blob ${index}`))
  })
  return (await Promise.all(puts)).map(({ hash }) => hash)
}

async function untilPlaced(hashes: readonly string[]): Promise<void> {
  const reference = cluster.live()[0]!.peerId
  for (const hash of hashes) {
    await cluster.untilCopies(hash, () => cluster.holders(reference, hash))
  }
}

/** Copies written to a node since the last call. */
function countFetches(): () => { to: string; hash: string }[] {
  let fetches: { to: string; hash: string }[] = []
  cluster.onFetch = (_from, to, hash) => {
    fetches.push({ to, hash })
    return Promise.resolve()
  }
  return () => {
    const seen = fetches
    fetches = []
    return seen
  }
}

describe('rebalancer', () => {
  it('gives a node that joins its share, and moves nothing else', async () => {
    cluster = new ReplicaCluster({ pageBlobs: 7 })
    await cluster.addAll(4)
    const hashes = await fill(80)
    await untilPlaced(hashes)
    const before = new Map(hashes.map((hash) => [hash, cluster.holders('n0', hash)]))
    const fetches = countFetches()
    await cluster.add('n4')
    await untilPlaced(hashes)
    const share = hashes.filter((hash) => cluster.holders('n0', hash).includes('n4'))
    expect(share.length).toBeGreaterThan(0)
    const moved = fetches()
    expect(moved.filter(({ to }) => to !== 'n4')).toEqual([])
    expect(moved.map(({ hash }) => hash).toSorted()).toEqual(share.toSorted())
    for (const hash of hashes) {
      const stayed = cluster.holders('n0', hash).filter((peerId) => peerId !== 'n4')
      expect(before.get(hash)).toEqual(expect.arrayContaining(stayed))
    }
  })

  it('makes the copies of a node that is away for too long elsewhere', async () => {
    cluster = new ReplicaCluster({ awayGraceMs: 100 })
    await cluster.addAll(5)
    const hashes = await fill(40)
    await untilPlaced(hashes)
    await cluster.kill('n3')
    await until(() => cluster.running('n0').members.placedCount === 4, 'n3 to count as gone')
    for (const hash of hashes) {
      const holders = cluster.holders('n0', hash)
      expect(holders).not.toContain('n3')
      await until(async () => {
        const copies = await cluster.copies(hash)
        return holders.every((peerId) => copies.includes(peerId))
      }, 'three live copies')
    }
    await cluster.start('n3')
    await untilPlaced(hashes)
  })

  it('moves what was put while a node counted as gone, however briefly', async () => {
    cluster = new ReplicaCluster({ awayGraceMs: 50, pageBlobs: 1, pauseMs: 100 })
    await cluster.addAll(5)
    const hashes = await fill(6)
    await untilPlaced(hashes)
    await cluster.stop('n3')
    await until(() => cluster.running('n0').members.placedCount === 4, 'n3 to count as gone')
    const more = Array.from({ length: 10 }, async (_, index) =>
      cluster.running('n0').blobs.put(Buffer.from(`brief ${index}`), { ack: 'all' }),
    )
    const placed = (await Promise.all(more)).map(({ hash }) => hash)
    // Back before any scan has ended, so the members are again those of the scan before.
    await cluster.start('n3')
    await untilPlaced([...hashes, ...placed])
  })

  it('leaves everything as it is while a node is away for a short time', async () => {
    cluster = new ReplicaCluster()
    await cluster.addAll(5)
    const hashes = await fill(20)
    await untilPlaced(hashes)
    const fetches = countFetches()
    const { generation } = cluster.running('n0').members
    await cluster.stop('n3')
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(cluster.running('n0').members.generation).toBe(generation)
    await cluster.start('n3')
    await untilPlaced(hashes)
    expect(fetches()).toEqual([])
  })

  it('fills a disk that was replaced', async () => {
    cluster = new ReplicaCluster()
    await cluster.addAll(3)
    const hashes = await fill(30)
    await untilPlaced(hashes)
    await cluster.kill('n1')
    cluster.wipe('n1')
    await cluster.start('n1')
    await untilPlaced(hashes)
  })

  it('finds again what a lost ledger knew', async () => {
    cluster = new ReplicaCluster()
    await cluster.addAll(3)
    await cluster.kill('n2')
    const hashes = await fill(10)
    for (const peerId of ['n0', 'n1']) {
      await cluster.stop(peerId)
      rmSync(cluster.node(peerId).ledgerFile)
    }
    await cluster.start('n0')
    await cluster.start('n1')
    await cluster.start('n2')
    await untilPlaced(hashes)
    for (const hash of hashes) {
      await until(() => cluster.running('n0').copies.holders(hash).length === 2, 'the ledger')
    }
  })

  it('goes on where it was when it was interrupted', async () => {
    cluster = new ReplicaCluster({ pageBlobs: 5, pauseMs: 30 })
    await cluster.addAll(3)
    const hashes = await fill(60)
    await untilPlaced(hashes)
    const { rebalancer } = cluster.running('n0')
    rebalancer.request()
    await until(() => rebalancer.progress().scannedBlobs >= 20, 'a third of the scan')
    await cluster.stop('n0')
    const seen = rebalancer.progress().scannedBlobs
    const { store } = cluster.node('n0')
    const list = store.list.bind(store)
    const pages: (string | undefined)[] = []
    store.list = (options) => {
      pages.push(options?.after)
      return list(options)
    }
    await cluster.start('n0')
    const again = cluster.running('n0').rebalancer
    await until(() => again.isSettled(), 'the scan to end')
    const sorted = hashes.toSorted()
    expect(pages[0]).toBe(sorted[seen - 1])
    expect(again.progress()).toEqual({ state: 'idle', scannedBlobs: 60, totalBlobs: 60 })
  })

  it('moves everything off a node that is drained, and stays below nobody’s three copies', async () => {
    cluster = new ReplicaCluster()
    await cluster.addAll(5)
    const hashes = await fill(40)
    await untilPlaced(hashes)
    cluster.onDelete = async (peerId, hash) => {
      const others = (await cluster.copies(hash)).filter((other) => other !== peerId)
      expect(others.length).toBeGreaterThanOrEqual(3)
    }
    const drained = cluster.node('n2')
    drained.draining = true
    drained.process!.mesh.update({ weight: 0 })
    await until(() => cluster.running('n0').members.placedCount === 4, 'the new weight')
    await until(() => cluster.running('n2').members.placedCount === 4, 'the new weight')
    await untilPlaced(hashes)
    await until(async () => (await cluster.running('n2').status()).remaining === 0, 'the drain')
    expect(await drained.store.usage()).toMatchObject({ blobs: 0 })
  })

  it('copies what is left of a cluster that is too small to drain completely', async () => {
    cluster = new ReplicaCluster()
    await cluster.addAll(3)
    const hashes = await fill(10)
    await untilPlaced(hashes)
    const drained = cluster.node('n2')
    drained.draining = true
    drained.process!.mesh.update({ weight: 0 })
    await until(() => cluster.running('n2').members.placedCount === 2, 'the new weight')
    expect((await cluster.running('n2').status()).draining).toBe(true)
    await until(async () => (await cluster.running('n2').status()).remaining === 0, 'the drain')
    // Two copies are not three, so the third stays for as long as the node does.
    for (const hash of hashes) expect(await cluster.copies(hash)).toEqual(['n0', 'n1', 'n2'])
  })

  it('follows weights and zones as they change', async () => {
    cluster = new ReplicaCluster()
    for (const [index, zone] of ['a', 'a', 'b', 'b', 'c'].entries()) {
      await cluster.add(`n${index}`, { zone })
    }
    const hashes = await fill(30)
    await untilPlaced(hashes)
    const zoneOf = (peerId: string): string => cluster.node(peerId).process!.mesh.self.zone
    for (const hash of hashes) {
      const zones = new Set(cluster.holders('n0', hash).map(zoneOf))
      expect(zones.size).toBe(3)
    }
    cluster.node('n4').process!.mesh.update({ zone: 'a' })
    const moved = (): boolean => cluster.running('n0').members.generation.includes('n4 1 a')
    await until(moved, 'the new zone to be seen')
    await untilPlaced(hashes)
  })
})
