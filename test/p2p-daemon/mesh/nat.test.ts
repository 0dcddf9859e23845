import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { describe, expect, it } from 'vitest'

import { createNAT, NAT_OFF, type NATInit } from '../../../p2p-daemon/mesh/nat.ts'
import { loadNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import {
  createMeshNode,
  startNode,
  TestCluster,
  until,
  writeAllowList,
  type TestNode,
} from '../../helpers/mesh.ts'

function parts(init: Partial<NATInit>) {
  const { services, transports, relays } = createNAT({ ...NAT_OFF, ...init })
  return [...services.keys(), `${transports.length} transports`, relays ? 'relays' : 'none']
}

describe('createNAT', () => {
  it('takes what is switched on and nothing else', () => {
    expect(parts({})).toEqual(['0 transports', 'none'])
    expect(parts({ autonat: true })).toEqual(['autonat', '0 transports', 'none'])
    expect(parts({ upnp: true })).toEqual(['upnp', '0 transports', 'none'])
    expect(parts({ relay: 'client' })).toEqual(['1 transports', 'relays'])
    expect(parts({ relay: 'server' })).toEqual(['relay', '0 transports', 'none'])
    expect(parts({ relay: 'both' })).toEqual(['relay', '1 transports', 'relays'])
    expect(parts({ relay: 'both', holePunch: true })).toEqual([
      'relay',
      'holePunch',
      '1 transports',
      'relays',
    ])
  })

  it('punches no holes for a node that is on no relay', () => {
    expect(parts({ holePunch: true })).toEqual(['0 transports', 'none'])
    expect(parts({ holePunch: true, relay: 'server' })).toEqual(['relay', '0 transports', 'none'])
  })
})

describe('a node with AutoNAT', () => {
  it('meets another one and stops in order', async () => {
    const nat: NATInit = { autonat: true, upnp: false, relay: 'both', holePunch: true }
    const nodes: TestNode[] = []
    await using cluster = new TestCluster(nodes)
    for (const name of ['left', 'right']) {
      const dataDir = await mkdtemp(join(tmpdir(), `bzzz-${name}-`))
      const nodeKey = await loadNodeKey(dataDir)
      const bootstrap = cluster.nodes[0]?.mesh.addresses() ?? []
      nodes.push(createMeshNode({ name, dataDir, nodeKey }, { nat, bootstrap }))
      if (nodes.length === 1) await startNode(nodes[0]!)
    }
    for (const node of nodes) {
      await writeAllowList(
        node,
        nodes.map(({ nodeKey }) => nodeKey.peerId),
      )
      await node.allowList.reload()
    }
    await startNode(nodes[1]!)
    await until(() => nodes.every(({ mesh }) => mesh.peers().length === 1), 'the connection')
    expect(nodes.map(({ mesh }) => mesh.peers()[0]?.link)).toEqual(['direct', 'direct'])
  })
})
