import { describe, expect, it } from 'vitest'

import { startCluster } from '../../helpers/mesh.ts'

const NAMES = ['walnut', 'ironwood', 'acacia']

describe('libp2p-mesh', () => {
  it('connects nodes that know only the first one', async () => {
    await using cluster = await startCluster({ names: NAMES })
    for (const { name, mesh } of cluster.nodes) {
      const others = NAMES.filter((other) => other !== name)
      expect(mesh.peers().map((peer) => peer.name).toSorted()).toEqual(others.toSorted())
    }
  })
})
