import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Server } from 'node:net'

import { afterEach, describe, expect, it } from 'vitest'

import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { createTLSOptions, proveIdentity } from '../../../p2p-daemon/transfer/bulk-identity.ts'
import {
  BulkListener,
  type BulkListenerComponents,
  type BulkListenerInit,
} from '../../../p2p-daemon/transfer/bulk-listener.ts'
import { BULK_CONNECTIONS_PER_PEER_MAX } from '../../../p2p-daemon/transfer/constants.ts'
import { transferMetrics } from '../../../p2p-daemon/transfer/transfer-metrics.ts'
import { PortInUseError } from '../../../shared/errors.ts'
import { createSilentLogger } from '../../../shared/log/log.ts'
import { Registry } from '../../../shared/metrics/metrics.ts'
import { connectRaw, OpenList, type RawPeer } from '../../helpers/bulk.ts'
import { until } from '../../helpers/mesh.ts'
import { SourceStore } from '../../helpers/source-store.ts'

const running: { stop(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of running.splice(0)) await one.stop()
})

async function startListener(
  init: Partial<BulkListenerInit> = {},
  components: Partial<BulkListenerComponents> = {},
) {
  const own = createNodeKey()
  const friend = createNodeKey()
  const store = new SourceStore()
  const allowList = new OpenList()
  allowList.add(friend.peerId)
  const listener = new BulkListener(
    {
      log: createSilentLogger(),
      tls: () => createTLSOptions(own),
      prove: (socket) => proveIdentity(socket),
      allowList,
      store,
      metrics: transferMetrics(new Registry()),
      ...components,
    },
    { selfId: own.peerId, host: '127.0.0.1', port: 0, stallTimeoutMs: 1_000, ...init },
  )
  running.push(listener)
  await listener.start()
  return { listener, friend, store, port: listener.port ?? 0 }
}

/** Ports that follow each other, the first `count` of them taken. */
async function occupy(count: number): Promise<number> {
  for (;;) {
    const first = 20_000 + Math.floor(Math.random() * 10_000)
    const servers: Server[] = []
    const release = async (): Promise<void> => {
      for (const server of servers) await new Promise((resolve) => server.close(resolve))
    }
    try {
      for (let index = 0; index < count; index += 1) {
        const server = createServer().listen(first + index, '127.0.0.1')
        servers.push(server)
        await once(server, 'listening')
      }
      running.push({ stop: release })
      return first
    } catch {
      await release()
    }
  }
}

async function pingPong(peer: RawPeer): Promise<void> {
  const { length } = peer.messages
  peer.send(0, { type: 'ping' })
  await until(() => peer.messages.length > length, 'the pong')
}

describe('bulk-listener, which port', () => {
  it('takes the first free port of the range', async () => {
    const first = await occupy(2)
    const portRange = { first, last: first + 10 }
    const { port } = await startListener({ port: undefined, portRange })
    expect(port).toBeGreaterThan(first + 1)
    expect(port).toBeLessThanOrEqual(first + 10)
  })

  it('says that the whole range is taken', async () => {
    const first = await occupy(2)
    const portRange = { first, last: first + 1 }
    const started = startListener({ port: undefined, portRange })
    await expect(started).rejects.toBeInstanceOf(PortInUseError)
    await expect(started).rejects.toThrow(`${first} to ${first + 1}`)
  })

  it('takes no other port than the one it was given', async () => {
    const port = await occupy(1)
    const started = startListener({ port })
    await expect(started).rejects.toBeInstanceOf(PortInUseError)
    await expect(started).rejects.toThrow(`${port}`)
  })

  it('starts and stops twice without harm, and starts again', async () => {
    const { listener, friend } = await startListener()
    await listener.start()
    await listener.stop()
    await listener.stop()
    expect(listener.port).toBeNull()
    await listener.start()
    await pingPong(await connectRaw(listener.port ?? 0, friend))
  })
})

describe('bulk-listener, before the proof has ended', () => {
  it.each(['accepted', 'refused'] as const)('acts on nothing that is %s later', async (outcome) => {
    const proof = Promise.withResolvers<string>()
    const slowKey = createNodeKey()
    const { friend, store, port } = await startListener(
      {},
      {
        prove: async (socket) => {
          const proven = await proveIdentity(socket)
          return proven === slowKey.peerId ? proof.promise : proven
        },
        allowList: { has: () => true, onChange: () => () => undefined },
      },
    )
    const { hash } = await store.put(randomBytes(3_000))
    const slow = await connectRaw(port, slowKey)
    slow.send(1, { type: 'range', hash, start: 0, length: 3_000 })
    slow.send(0, { type: 'ping' })
    // By the time somebody else was answered often, what was sent has been there for long.
    const quick = await connectRaw(port, friend)
    for (let times = 0; times < 20; times += 1) await pingPong(quick)
    expect(slow.bytes).toBe(0)
    expect(store.reads).toBe(0)

    if (outcome === 'refused') {
      proof.reject(new Error('no proof'))
      await slow.closed
      expect(slow.bytes).toBe(0)
      expect(store.reads).toBe(0)
      return
    }
    proof.resolve(slowKey.peerId)
    await until(() => slow.dataBytes === 3_000 && slow.has('pong'), 'what was asked for')
  })

  it('cuts off whoever does not begin to speak TLS', async () => {
    const { listener, port } = await startListener()
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    await listener.stop()
    await once(socket, 'close')
  })

  it('cuts off whoever speaks something else', async () => {
    const { friend, port } = await startListener()
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.resume()
    socket.write(randomBytes(2_000))
    await once(socket, 'close')
    await pingPong(await connectRaw(port, friend))
  })
})

describe('bulk-listener, many connections', () => {
  it('closes the oldest of too many connections of a peer', async () => {
    const { friend, port } = await startListener()
    const peers: RawPeer[] = []
    for (let index = 0; index <= BULK_CONNECTIONS_PER_PEER_MAX; index += 1) {
      const peer = await connectRaw(port, friend)
      if (index < BULK_CONNECTIONS_PER_PEER_MAX) await pingPong(peer)
      peers.push(peer)
    }
    await peers[0]?.closed
    for (const peer of peers.slice(1)) await pingPong(peer)
  })
})
