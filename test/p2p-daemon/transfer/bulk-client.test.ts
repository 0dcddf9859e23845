import { randomBytes } from 'node:crypto'

import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'

import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import {
  encodeDataHeader,
  encodeFrame,
  type BulkMessage,
} from '../../../p2p-daemon/transfer/bulk-frame.ts'
import type { BulkTransferInit } from '../../../p2p-daemon/transfer/bulk-transfer.ts'
import { FETCHES_PER_PEER_MAX, RANGE_BYTES_MAX } from '../../../p2p-daemon/transfer/constants.ts'
import {
  OverloadedError,
  PeerUnreachableError,
  ProtocolViolationError,
  RemoteError,
} from '../../../shared/errors.ts'
import { MiB } from '../../../shared/limits.ts'
import { createBulkNode, serveRaw, type BulkNode, type RawPeer } from '../../helpers/bulk.ts'
import { until } from '../../helpers/mesh.ts'
import { collect } from '../../suites/blob-transfer.ts'

const GARBAGE_CONNECTIONS = 60
const HASH = 'ab'.repeat(32)

type Range = Extract<BulkMessage, { type: 'range' }>
type OnRange = (peer: RawPeer, id: number, range: Range) => void

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

interface Scene {
  ironwood: BulkNode
  peerId: string
  connections: RawPeer[]
  fetchAll: () => Promise<number>
}

/** A client before a bulk port that proves who it is, answers pings and then does `onRange`. */
async function setScene(onRange: OnRange, init: Partial<BulkTransferInit> = {}): Promise<Scene> {
  const key = createNodeKey()
  const ironwood = createBulkNode(init)
  await ironwood.transfer.start()
  const server = await serveRaw(key, (peer) => {
    let seen = 0
    peer.socket.on('data', () => {
      for (; seen < peer.messages.length; seen += 1) {
        const { id, message } = peer.messages[seen]!
        if (message.type === 'ping') peer.send(id, { type: 'pong' })
        if (message.type === 'range') onRange(peer, id, message)
      }
    })
  })
  closing.push(server.close, () => ironwood.transfer.stop())
  ironwood.meet(key.peerId, server.port)
  const fetchAll = async (): Promise<number> => {
    const bytes = await collect(await ironwood.transfer.fetch(key.peerId, HASH))
    return bytes.length
  }
  return { ironwood, peerId: key.peerId, connections: server.connections, fetchAll }
}

function data(id: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([encodeDataHeader(id, bytes.length), bytes])
}

function head(id: number, start: number, length: number, sizeBytes = 3 * MiB): Buffer {
  return encodeFrame(id, { type: 'head', sizeBytes, start, length })
}

/** Answers a range as it should be answered. */
const answer: OnRange = ({ socket }, id, { start, length }) => {
  socket.write(head(id, start, length))
  socket.write(data(id, Buffer.alloc(length, 7)))
}

describe('bulk client, before a peer that breaks the rules', () => {
  const short = Buffer.alloc(10)

  it.each<[string, (id: number) => Buffer]>([
    ['data before any head', (id) => data(id, short)],
    ['the head of another range', (id) => head(id, 7, MiB)],
    ['a head that is shorter than the blob allows', (id) => head(id, 0, 10)],
    ['a second head', (id) => Buffer.concat([head(id, 0, MiB), head(id, 0, MiB)])],
    ['more data than announced', (id) => Buffer.concat([head(id, 0, 5, 5), data(id, short)])],
    ['an answer nobody asked for', (id) => head(id + 1, 0, MiB)],
    ['a pong without a ping', () => encodeFrame(0, { type: 'pong' })],
    ['a request', () => encodeFrame(9, { type: 'range', hash: HASH, start: 0, length: 1 })],
    ['that it has cancelled what nobody cancelled', (id) => encodeFrame(id, { type: 'cancelled' })],
    ['a frame that is too long', (id) => Buffer.from(encodeDataHeader(id, RANGE_BYTES_MAX + 1))],
  ])('calls %s a violation', async (_what, bytes) => {
    const { fetchAll, connections } = await setScene(({ socket }, id) => socket.write(bytes(id)))
    await expect(fetchAll()).rejects.toBeInstanceOf(ProtocolViolationError)
    await connections[0]?.closed
  })

  it('calls another size for a later range a violation', async () => {
    const { fetchAll } = await setScene(({ socket }, id, { start, length }) => {
      socket.write(head(id, start, length, start === 0 ? 3 * MiB : 4 * MiB))
      socket.write(data(id, Buffer.alloc(length)))
    })
    await expect(fetchAll()).rejects.toBeInstanceOf(ProtocolViolationError)
  })

  it('settles whatever the peer answers', async () => {
    let garbage: Uint8Array = Buffer.alloc(0)
    const { fetchAll } = await setScene(({ socket }) => {
      socket.write(garbage)
      socket.end()
    })
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 2_000 }), async (bytes) => {
        garbage = bytes
        await expect(fetchAll()).rejects.toThrow()
      }),
      { numRuns: GARBAGE_CONNECTIONS },
    )
  })

  it('passes on why the peer could not go on', async () => {
    const { fetchAll } = await setScene(({ socket }, id, { start, length }) => {
      socket.write(head(id, start, length))
      socket.write(data(id, Buffer.alloc(100)))
      socket.write(encodeFrame(id, { type: 'error', code: 'BZZZ_BLOB_CORRUPT', message: 'no' }))
    })
    const error = await fetchAll().catch((e: unknown) => e)
    expect(error).toBeInstanceOf(RemoteError)
    expect(error).toMatchObject({ code: 'BZZZ_BLOB_CORRUPT', status: 503 })
  })
})

describe('bulk client, before a peer that stalls', () => {
  it('gives up on a port where nobody accepts it', async () => {
    const key = createNodeKey()
    const ironwood = createBulkNode({ connectTimeoutMs: 300 })
    const server = await serveRaw(key, () => undefined)
    closing.push(server.close)
    ironwood.meet(key.peerId, server.port)
    const fetched = ironwood.transfer.fetch(key.peerId, HASH)
    await expect(fetched).rejects.toThrow('did not answer in time')
    await expect(fetched).rejects.toBeInstanceOf(PeerUnreachableError)
  })

  it('gives up on a peer that never answers', async () => {
    const { fetchAll, connections } = await setScene(() => undefined)
    await expect(fetchAll()).rejects.toThrow('The peer stopped sending.')
    await connections[0]?.closed
  })

  it('gives up on a peer that stops in the middle', async () => {
    const { fetchAll } = await setScene(({ socket }, id, { start, length }) => {
      socket.write(head(id, start, length))
      socket.write(data(id, Buffer.alloc(length - 1)))
    })
    await expect(fetchAll()).rejects.toThrow('The peer stopped sending.')
  })

  it('gives up on one request that is passed over for ever', async () => {
    const scene = await setScene(
      (peer, id, range) => {
        if (range.hash === HASH) answer(peer, id, range)
      },
      { stallTimeoutMs: 200 },
    )
    const { transfer } = scene.ironwood
    let passedOver = true
    const fetched = transfer
      .fetch(scene.peerId, 'cd'.repeat(32))
      .finally(() => (passedOver = false))
    const settled = errorOf(fetched)
    while (passedOver) {
      await scene.fetchAll()
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect((await settled).message).toContain('answers others')
    await until(() => scene.connections[0]?.has('cancel') === true, 'the cancellation')
  })

  it('leaves a connection on which cancelled requests never end', async () => {
    const scene = await setScene(
      (peer, id, range) => {
        if (range.hash === HASH) answer(peer, id, range)
      },
      { stallTimeoutMs: 200 },
    )
    const controller = new AbortController()
    const { signal } = controller
    const fetched = scene.ironwood.transfer.fetch(scene.peerId, 'cd'.repeat(32), { signal })
    const settled = errorOf(fetched)
    await until(() => scene.connections[0]?.has('range') === true, 'the request')
    controller.abort(new Error('enough'))
    expect((await settled).message).toBe('enough')
    await until(async () => {
      // One that is under way when the connection is left fails with it.
      await scene.fetchAll().catch(() => undefined)
      return scene.connections.length > 1
    }, 'another connection')
  })

  it('notices that an idle connection is dead', async () => {
    const scene = await setScene(answer, { keepAliveMs: 100, stallTimeoutMs: 300 })
    expect(await scene.fetchAll()).toBe(3 * MiB)
    // From now on nothing comes back.
    scene.connections[0]?.socket.removeAllListeners('data')
    scene.connections[0]?.socket.resume()
    await until(async () => (await scene.ironwood.connections('outbound')) === 0, 'the end')
    expect(await scene.fetchAll()).toBe(3 * MiB)
    expect(scene.connections).toHaveLength(2)
  })

  it('keeps an idle connection that lives', async () => {
    const scene = await setScene(answer, { keepAliveMs: 50, stallTimeoutMs: 300 })
    expect(await scene.fetchAll()).toBe(3 * MiB)
    const pings = () =>
      scene.connections[0]?.messages.filter(({ message }) => message.type === 'ping').length ?? 0
    await until(() => pings() > 6, 'pings')
    expect(await scene.fetchAll()).toBe(3 * MiB)
    expect(scene.connections).toHaveLength(1)
  })
})

describe('bulk client, with a peer that comes and goes', () => {
  it('uses one connection for many fetches', async () => {
    const scene = await setScene(answer)
    await Promise.all(Array.from({ length: 20 }, () => scene.fetchAll()))
    await scene.fetchAll()
    expect(scene.connections).toHaveLength(1)
    expect(await scene.ironwood.connections('outbound')).toBe(1)
  })

  it('connects anew after the peer has closed', async () => {
    const scene = await setScene(answer)
    await scene.fetchAll()
    scene.connections[0]?.socket.destroy()
    await until(async () => (await scene.ironwood.connections('outbound')) === 0, 'the end')
    expect(await scene.fetchAll()).toBe(3 * MiB)
  })

  it('tries again when a connection that was there before breaks under a request', async () => {
    let breaks = 0
    const scene = await setScene((peer, id, range) => {
      if (breaks > 0 && range.start === 0) {
        breaks -= 1
        peer.socket.destroy()
      } else answer(peer, id, range)
    })
    await scene.fetchAll()
    breaks = 1
    expect(await scene.fetchAll()).toBe(3 * MiB)
    breaks = 2
    await expect(scene.fetchAll()).rejects.toBeInstanceOf(PeerUnreachableError)
    expect(breaks).toBe(0)
  })

  it('asks a peer that takes leave nothing more, and reads what it was promised', async () => {
    const scene = await setScene((peer, id, range) => {
      answer(peer, id, range)
      if (range.start === 0 && scene.connections.length === 1) peer.send(0, { type: 'goodbye' })
    })
    const remote = await scene.ironwood.transfer.fetch(scene.peerId, HASH)
    const error = await collect(remote).catch((e: unknown) => e)
    expect(error).toBeInstanceOf(PeerUnreachableError)
    const [first] = scene.connections
    const ranges = first?.messages.filter(({ message }) => message.type === 'range')
    expect(ranges).toHaveLength(1)
    expect(await scene.fetchAll()).toBe(3 * MiB)
    expect(scene.connections).toHaveLength(2)
  })

  it('gives up on a port that is closed', async () => {
    const ironwood = createBulkNode()
    const server = await serveRaw(createNodeKey(), () => undefined)
    await server.close()
    const { peerId } = createNodeKey()
    ironwood.meet(peerId, server.port)
    const fetched = ironwood.transfer.fetch(peerId, HASH)
    await expect(fetched).rejects.toBeInstanceOf(PeerUnreachableError)
  })

  it('knows no port of a peer that has none', async () => {
    const ironwood = createBulkNode()
    const { peerId } = createNodeKey()
    ironwood.meet(peerId, null)
    const fetched = ironwood.transfer.fetch(peerId, HASH)
    await expect(fetched).rejects.toBeInstanceOf(PeerUnreachableError)
  })

  it('cuts running fetches when it stops', async () => {
    const scene = await setScene((peer, id, range) => {
      if (range.start === 0) answer(peer, id, range)
    })
    const remote = await scene.ironwood.transfer.fetch(scene.peerId, HASH)
    const read = collect(remote)
    const settled = errorOf(read)
    await until(() => (scene.connections[0]?.messages.length ?? 0) > 2, 'further requests')
    await scene.ironwood.transfer.stop()
    expect((await settled).message).toBe('This node is stopping.')
  })
})

describe('bulk client, within its bounds', () => {
  it('refuses more fetches from a peer than it may have', async () => {
    const { ironwood, peerId } = await setScene(() => undefined)
    const controller = new AbortController()
    const { signal } = controller
    const fetches = Array.from({ length: FETCHES_PER_PEER_MAX }, () =>
      ironwood.transfer.fetch(peerId, HASH, { signal }).catch(() => undefined),
    )
    const oneMore = ironwood.transfer.fetch(peerId, HASH)
    await expect(oneMore).rejects.toBeInstanceOf(OverloadedError)
    controller.abort()
    await Promise.all(fetches)
  })

  it('makes no room for what is announced, only for what was asked for', async () => {
    const huge = 2 ** 50
    const { ironwood, peerId } = await setScene(({ socket }, id) => {
      socket.write(encodeFrame(id, { type: 'head', sizeBytes: huge, start: 0, length: MiB }))
      socket.write(data(id, randomBytes(MiB)))
    })
    const before = process.memoryUsage().rss
    const remote = await ironwood.transfer.fetch(peerId, HASH)
    expect(remote.sizeBytes).toBe(huge)
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * MiB)
    await remote.body[Symbol.asyncIterator]().return?.()
  })

  it('frees the place of a fetch that is cancelled', async () => {
    const { ironwood, peerId, connections } = await setScene(() => undefined, {
      stallTimeoutMs: 60_000,
    })
    for (let times = 0; times < FETCHES_PER_PEER_MAX + 5; times += 1) {
      const controller = new AbortController()
      const fetched = ironwood.transfer.fetch(peerId, HASH, { signal: controller.signal })
      const settled = errorOf(fetched)
      const count = () => connections[0]?.messages.filter(isRange).length ?? 0
      await until(() => count() > times, 'the request')
      controller.abort(new Error('enough'))
      expect((await settled).message).toBe('enough')
    }
  })
})

/** Listened to from now on, so that it may come before anybody waits for it. */
function errorOf(failing: Promise<unknown>): Promise<Error> {
  return failing.then(
    () => new Error('It did not fail.'),
    (error: Error) => error,
  )
}

function isRange({ message }: { message: BulkMessage }): boolean {
  return message.type === 'range'
}
