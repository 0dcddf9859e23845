import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { ReplicaCluster } from '../../helpers/replica-cluster.ts'

let cluster: ReplicaCluster

beforeEach(async () => {
  cluster = new ReplicaCluster()
  await cluster.addAll(2)
})

afterEach(async () => {
  await cluster.dispose()
})

describe('copies of garbage', () => {
  it('are not made good while the node stays, and are passed on when it leaves', async () => {
    const node = cluster.node('n0')
    const garbage = (await node.store.put(Buffer.from('nothing refers to this'))).hash
    const wanted = (await node.store.put(Buffer.from('something refers to this'))).hash
    cluster.garbage.add(garbage)
    cluster.running('n0').rebalancer.request()
    await cluster.untilCopies(wanted, () => ['n0', 'n1'])
    await expect.poll(() => cluster.running('n0').rebalancer.isSettled()).toBe(true)
    expect(await cluster.copies(garbage)).toEqual(['n0'])
    node.draining = true
    cluster.running('n0').rebalancer.request()
    await cluster.untilCopies(garbage, () => ['n0', 'n1'])
  })
})
