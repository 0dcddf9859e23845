import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'

import { describe, expect, it } from 'vitest'

import { MESSAGE_BYTES_MAX } from '../../../p2p-daemon/mesh/constants.ts'
import { createHost } from '../../../p2p-daemon/mesh/host.ts'
import { Libp2pMesh } from '../../../p2p-daemon/mesh/libp2p-mesh.ts'
import { createNAT, NAT_OFF } from '../../../p2p-daemon/mesh/nat.ts'
import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import {
  BlobNotFoundError,
  BodyTooLargeError,
  OverloadedError,
  PeerUnreachableError,
  PortInUseError,
  RemoteError,
  VersionConflictError,
} from '../../../shared/errors.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import {
  createMeshNode,
  startCluster,
  startNode,
  until,
  untilPeers,
  writeAllowList,
  type TestNode,
} from '../../helpers/mesh.ts'

const NAMES = ['walnut', 'ironwood', 'acacia']
const PROTOCOL = '/bzzz/test/1.0.0'

const idOf = (node: TestNode): string => node.nodeKey.peerId

describe('libp2p-mesh', () => {
  it('connects nodes that know only the first one', async () => {
    await using cluster = await startCluster({ names: NAMES })
    for (const { name, mesh } of cluster.nodes) {
      const others = NAMES.filter((other) => other !== name)
      const names = mesh.peers().map((peer) => peer.name)
      expect(names.toSorted()).toEqual(others.toSorted())
    }
  })

  it('brings two nodes together that only a third one dials', async () => {
    await using cluster = await startCluster({
      names: NAMES,
      mesh: { bootstrap: [] },
      allowed: (_node, nodes) => nodes.map(idOf),
    })
    const [walnut, ironwood, acacia] = cluster.nodes as [TestNode, TestNode, TestNode]
    await acacia.mesh.stop()
    const bootstrap = [walnut, ironwood].flatMap(({ mesh }) => mesh.addresses())
    const third = createMeshNode(acacia, { bootstrap })
    await third.mesh.start()
    try {
      await until(() => ironwood.mesh.peer(idOf(walnut)) !== undefined, 'the two to meet')
    } finally {
      await third.mesh.stop()
    }
  })

  it('says of a peer what the peer says of itself', async () => {
    await using cluster = await startCluster({
      names: ['walnut', 'ironwood'],
      mesh: {
        nodeInfo: {
          name: 'same',
          version: '2.3.4',
          roles: ['threads', 'llm'],
          storage: false,
          weight: 2.5,
          zone: 'north',
          bulkPort: 9200,
        },
      },
    })
    const [walnut, ironwood] = cluster.nodes as [TestNode, TestNode]
    const peer = walnut.mesh.peer(idOf(ironwood))
    expect(peer).toMatchObject({ ...ironwood.mesh.self, direction: 'inbound' })
    expect(peer?.remoteAddress).toMatch(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/p2p\//)
    await until(() => typeof walnut.mesh.peer(idOf(ironwood))?.latencyMs === 'number', 'a ping')
  })

  it('tells everybody when a node changes what it says about itself', async () => {
    await using cluster = await startCluster({ names: NAMES })
    const [walnut, ...others] = cluster.nodes as [TestNode, TestNode, TestNode]
    walnut.mesh.update({ bulkPort: 9234 })
    for (const { mesh } of others) {
      await until(() => mesh.peer(idOf(walnut))?.bulkPort === 9234, 'the new bulk port')
    }
  })

  it('refuses a peer that is not on the allow-list, whoever dials', async () => {
    await using cluster = await startCluster({
      names: NAMES,
      allowed: (node, nodes) =>
        node.name === 'acacia' ? nodes.map(idOf) : nodes.slice(0, 2).map(idOf),
    })
    const [walnut, ironwood, acacia] = cluster.nodes as [TestNode, TestNode, TestNode]
    await untilPeers(walnut.mesh, 1)
    await untilPeers(ironwood.mesh, 1)
    await until(async () => {
      const text = await walnut.registry.metrics()
      return /bzzz_peer_connects_total\{result="denied"\} [1-9]/.test(text)
    }, 'acacia to be denied')
    expect(walnut.mesh.peer(idOf(acacia))).toBeUndefined()
    expect(acacia.mesh.peers()).toEqual([])
    const asked = acacia.mesh.request(idOf(walnut), PROTOCOL, Buffer.from('let me in'))
    await expect(asked).rejects.toBeInstanceOf(PeerUnreachableError)
  })

  it('cuts a live peer that is struck from the allow-list', async () => {
    await using cluster = await startCluster({ names: NAMES })
    const [walnut, ironwood, acacia] = cluster.nodes as [TestNode, TestNode, TestNode]
    const left: string[] = []
    walnut.mesh.on('leave', (peer) => left.push(peer.name))
    await writeAllowList(walnut, [walnut, ironwood].map(idOf))
    await untilPeers(walnut.mesh, 1)
    await until(() => acacia.mesh.peer(idOf(walnut)) === undefined, 'acacia to notice')
    expect(left).toEqual(['acacia'])
    expect(walnut.mesh.expectedPeers()).toEqual([idOf(ironwood)])
    const metrics = await walnut.registry.metrics()
    expect(metrics).toContain('bzzz_peer_disconnects_total{reason="revoked"} 1')
  })

  it('lets a peer in that is added to the allow-list', async () => {
    await using cluster = await startCluster({
      names: ['walnut', 'ironwood'],
      allowed: (node, nodes) => (node.name === 'walnut' ? [] : nodes.map(idOf)),
    })
    const [walnut, ironwood] = cluster.nodes as [TestNode, TestNode]
    expect(walnut.mesh.peers()).toEqual([])
    await writeAllowList(walnut, [idOf(ironwood)])
    await untilPeers(walnut.mesh, 1)
    await untilPeers(ironwood.mesh, 1)
  })

  it('finds its peers again after a restart without the bootstrap node', async () => {
    await using cluster = await startCluster({ names: NAMES })
    const [walnut, ironwood, acacia] = cluster.nodes as [TestNode, TestNode, TestNode]
    const joined: string[] = []
    acacia.mesh.on('join', (peer) => joined.push(peer.name))
    await walnut.mesh.stop()
    await ironwood.mesh.stop()
    await untilPeers(acacia.mesh, 0)
    await startNode(ironwood)
    await untilPeers(acacia.mesh, 1)
    await untilPeers(ironwood.mesh, 1)
    expect(joined).toEqual(['ironwood'])
  })

  it('hangs up on an allowed peer that does not say who it is', async () => {
    const nodeKey = createNodeKey()
    const mute = await createHost({
      nodeKey,
      listen: ['/ip4/127.0.0.1/tcp/0'],
      announce: [],
      connectionGater: {},
      services: new Map(),
      nat: createNAT(NAT_OFF),
    })
    await mute.start()
    try {
      await using cluster = await startCluster({
        names: ['walnut'],
        mesh: { bootstrap: [String(mute.getMultiaddrs()[0])] },
        allowed: () => [nodeKey.peerId],
      })
      const { mesh, registry } = cluster.node('walnut')
      await until(async () => {
        return /bzzz_peer_connects_total\{result="silent"\} [1-9]/.test(await registry.metrics())
      }, 'the mute peer to be hung up on')
      expect(mesh.peers()).toEqual([])
    } finally {
      await mute.stop()
    }
  })

  it('stays up while strangers speak something else to its port', async () => {
    await using cluster = await startCluster({ names: ['walnut', 'ironwood'] })
    const port = Number(/tcp\/(\d+)/.exec(cluster.node('walnut').mesh.addresses()[0] ?? '')?.[1])
    for (const greeting of ['GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\x00\x05hello', '']) {
      await new Promise<void>((resolve) => {
        const socket = connect(port, '127.0.0.1', () => socket.end(greeting))
        socket.on('error', () => resolve()).on('close', () => resolve())
      })
    }
    expect(cluster.node('walnut').mesh.peers()).toHaveLength(1)
  })

  it('says so when its port is taken, and leaves nothing open', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    await using cluster = await startCluster({ names: ['walnut'] })
    const { log, nodeKey, allowList, dataDir, mesh } = cluster.node('walnut')
    await mesh.stop()
    const second = new Libp2pMesh(
      { log, nodeKey, allowList, registry: new Registry() },
      {
        listen: [`/ip4/127.0.0.1/tcp/${port}`],
        nodeInfo: mesh.self,
        dataDir,
      },
    )
    await expect(second.start()).rejects.toBeInstanceOf(PortInUseError)
    taken.close()
    await once(taken, 'close')
    await second.start()
    await second.stop()
  })

  it('starts and stops twice without harm and can start again', async () => {
    await using cluster = await startCluster({ names: ['walnut', 'ironwood'] })
    const [walnut, ironwood] = cluster.nodes as [TestNode, TestNode]
    await ironwood.mesh.start()
    await ironwood.mesh.stop()
    await ironwood.mesh.stop()
    expect(ironwood.mesh.peers()).toEqual([])
    await ironwood.mesh.start()
    await untilPeers(walnut.mesh, 1)
  })
})

describe('libp2p-mesh requests', () => {
  it('carries a request there and the answer back', async () => {
    await using cluster = await startCluster({
      names: ['walnut', 'ironwood'],
      attach: ({ name, mesh }) => {
        mesh.handle(PROTOCOL, async ({ peerId, payload }) =>
          Buffer.from(`${name} heard ${Buffer.from(payload).toString()} from ${peerId}`),
        )
        return []
      },
    })
    const [walnut, ironwood] = cluster.nodes as [TestNode, TestNode]
    const answer = await walnut.mesh.request(idOf(ironwood), PROTOCOL, Buffer.from('hello'))
    expect(Buffer.from(answer).toString()).toBe(`ironwood heard hello from ${idOf(walnut)}`)
  })

  it('gives every failure of the handler its code, and hides what has none', async () => {
    const failures: Record<string, () => Error> = {
      missing: () => new BlobNotFoundError('There is no such blob.'),
      conflict: () => new VersionConflictError('Too late.', { version: 7 }),
      secret: () => new Error('connect postgres://user:hunter2@db'),
      large: () => new Error('unused'),
    }
    await using cluster = await startCluster({
      names: ['walnut', 'ironwood'],
      attach: ({ mesh }) => {
        mesh.handle(PROTOCOL, async ({ payload }) => {
          const kind = Buffer.from(payload).toString()
          if (kind === 'large') return Buffer.alloc(MESSAGE_BYTES_MAX + 1)
          throw failures[kind]?.() ?? new Error('no such failure')
        })
        return []
      },
    })
    const [walnut, ironwood] = cluster.nodes as [TestNode, TestNode]
    const fail = async (kind: string): Promise<RemoteError> => {
      const asked = walnut.mesh.request(idOf(ironwood), PROTOCOL, Buffer.from(kind))
      const error = await asked.catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(RemoteError)
      return error as RemoteError
    }
    expect(await fail('missing')).toMatchObject({ code: 'BZZZ_BLOB_NOT_FOUND', status: 404 })
    expect(await fail('conflict')).toMatchObject({
      code: 'BZZZ_VERSION_CONFLICT',
      details: { current: { version: 7 } },
    })
    const secret = await fail('secret')
    expect(secret).toMatchObject({ code: 'BZZZ_INTERNAL', status: 500 })
    expect(secret.message).not.toContain('hunter2')
    expect(await fail('large')).toMatchObject({ code: 'BZZZ_INTERNAL' })
  })

  it('answers 100 requests at once', async () => {
    await using cluster = await startCluster({
      names: ['walnut', 'ironwood'],
      attach: ({ mesh }) => {
        mesh.handle(PROTOCOL, async ({ payload }) => payload)
        return []
      },
    })
    const [walnut, ironwood] = cluster.nodes as [TestNode, TestNode]
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        walnut.mesh.request(idOf(ironwood), PROTOCOL, Buffer.alloc(10_000 + n, n)),
      ),
    )
    answers.forEach((answer, n) => {
      expect(Buffer.compare(answer, Buffer.alloc(10_000 + n, n))).toBe(0)
    })
  })

  it('carries the largest message and refuses a larger one before it is sent', async () => {
    await using cluster = await startCluster({
      names: ['walnut', 'ironwood'],
      attach: ({ mesh }) => {
        mesh.handle(PROTOCOL, async ({ payload }) => payload)
        return []
      },
    })
    const [walnut, ironwood] = cluster.nodes as [TestNode, TestNode]
    const largest = Buffer.alloc(MESSAGE_BYTES_MAX, 7)
    const answer = await walnut.mesh.request(idOf(ironwood), PROTOCOL, largest)
    expect(largest.equals(answer)).toBe(true)
    const tooLarge = Buffer.alloc(MESSAGE_BYTES_MAX + 1)
    const asked = walnut.mesh.request(idOf(ironwood), PROTOCOL, tooLarge)
    await expect(asked).rejects.toBeInstanceOf(BodyTooLargeError)
  })

  it('gives up on a silent handler, which learns of it, and refuses to queue without end', async () => {
    let started = 0
    let stopped = 0
    await using cluster = await startCluster({
      names: ['walnut', 'ironwood'],
      attach: ({ mesh }) => {
        mesh.handle(PROTOCOL, async ({ signal }) => {
          started += 1
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
          stopped += 1
          return Buffer.alloc(0)
        })
        return []
      },
    })
    const [walnut, ironwood] = cluster.nodes as [TestNode, TestNode]
    const ask = (options: { timeoutMs?: number; signal?: AbortSignal }): Promise<unknown> =>
      walnut.mesh.request(idOf(ironwood), PROTOCOL, Buffer.from('?'), options)
    const late = await ask({ timeoutMs: 500 }).catch((error: unknown) => error)
    expect(late).toBeInstanceOf(PeerUnreachableError)
    expect(started).toBe(1)
    await until(() => stopped === 1, 'the handler to stop')

    const caller = new AbortController()
    const pending = Array.from({ length: 257 }, () =>
      ask({ signal: caller.signal }).catch((error: unknown) => error),
    )
    expect(await Promise.race(pending)).toBeInstanceOf(OverloadedError)
    await until(() => started === 257, 'all handlers to start')
    caller.abort(new Error('changed my mind'))
    const outcomes = (await Promise.all(pending)) as Error[]
    expect(outcomes.filter((error) => error.message === 'changed my mind')).toHaveLength(256)
    await until(() => stopped === 257, 'all handlers to stop')
  })

  it('fails at once when the peer does not speak the protocol or is not there', async () => {
    await using cluster = await startCluster({ names: ['walnut', 'ironwood'] })
    const [walnut, ironwood] = cluster.nodes as [TestNode, TestNode]
    const unknown = walnut.mesh.request(idOf(ironwood), '/bzzz/none/1.0.0', Buffer.from('?'))
    await expect(unknown).rejects.toBeInstanceOf(PeerUnreachableError)
    await ironwood.mesh.stop()
    const gone = walnut.mesh.request(idOf(ironwood), PROTOCOL, Buffer.from('?'))
    await expect(gone).rejects.toBeInstanceOf(PeerUnreachableError)
  })
})
