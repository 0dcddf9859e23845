import { randomBytes } from 'node:crypto'

import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { encodeDataHeader, encodeFrame } from '../../../p2p-daemon/transfer/bulk-frame.ts'
import {
  BULK_RANGES_PER_CONNECTION_MAX,
  RANGE_BYTES_MAX,
} from '../../../p2p-daemon/transfer/constants.ts'
import { KiB, MiB } from '../../../shared/limits.ts'
import { connectRaw, createBulkNode, type RawPeer } from '../../helpers/bulk.ts'
import { LARGE_BYTES } from '../../helpers/large-blob.ts'
import { until } from '../../helpers/mesh.ts'

const GARBAGE_CONNECTIONS = 60

const walnut = createBulkNode()
const friend = createNodeKey()
const { large } = walnut.store

beforeAll(async () => {
  walnut.allowList.add(friend.peerId)
  await walnut.transfer.start()
})
afterAll(() => walnut.transfer.stop())

function open(): Promise<RawPeer> {
  return connectRaw(walnut.transfer.port ?? 0, friend)
}

function askLarge(peer: RawPeer, id: number, start = id * MiB): void {
  peer.send(id, { type: 'range', hash: large.hash, start, length: RANGE_BYTES_MAX })
}

async function expectServes(): Promise<void> {
  const { hash } = await walnut.store.put(randomBytes(1_000))
  const peer = await open()
  peer.send(1, { type: 'range', hash, start: 0, length: 1_000 })
  await until(() => peer.dataBytes === 1_000, 'the blob')
  peer.socket.destroy()
}

describe('bulk port, serving', () => {
  it('answers many ranges that were asked for at once', async () => {
    const peer = await open()
    for (let id = 1; id <= 40; id += 1) askLarge(peer, id)
    await until(() => peer.dataBytes === 40 * MiB, 'the data')
    const heads = peer.messages.filter(({ message }) => message.type === 'head')
    expect(new Set(heads.map(({ id }) => id)).size).toBe(40)
    peer.socket.destroy()
  })

  it('says what it has not and goes on', async () => {
    const peer = await open()
    const { hash } = await walnut.store.put(Buffer.from('12345'))
    peer.send(1, { type: 'range', hash: 'ab'.repeat(32), start: 0, length: 1 })
    peer.send(2, { type: 'range', hash, start: 6, length: 1 })
    peer.send(3, { type: 'range', hash, start: 5, length: 1 })
    peer.send(4, { type: 'range', hash, start: 1, length: 100 })
    await until(() => peer.messages.length === 4, 'the answers')
    const answers = Object.fromEntries(peer.messages.map(({ id, message }) => [id, message]))
    expect(answers[1]).toMatchObject({ type: 'error', code: 'BZZZ_BLOB_NOT_FOUND' })
    expect(answers[2]).toMatchObject({ code: 'BZZZ_RANGE_NOT_SATISFIABLE', sizeBytes: 5 })
    expect(answers[3]).toEqual({ type: 'head', sizeBytes: 5, start: 5, length: 0 })
    expect(answers[4]).toEqual({ type: 'head', sizeBytes: 5, start: 1, length: 4 })
    await until(() => peer.dataBytes === 4, 'the data')
    peer.socket.destroy()
  })

  it('forgets a range that is cancelled while it waits or is read', async () => {
    walnut.store.hold = true
    const peer = await open()
    try {
      for (let id = 1; id <= 8; id += 1) askLarge(peer, id)
      await until(() => walnut.store.held === 4, 'the first four to be read')
      const reads = walnut.store.reads
      for (let id = 1; id <= 8; id += 1) peer.send(id, { type: 'cancel' })
      const cancelled = () => peer.messages.filter(({ message }) => message.type === 'cancelled')
      await until(() => cancelled().length === 4, 'those that waited to be cancelled')
      expect(walnut.store.reads).toBe(reads)
      walnut.store.hold = false
      await until(() => cancelled().length === 8, 'those that were read to be cancelled')
      await until(() => large.reading === 0, 'the store to be let go')
      expect(peer.dataBytes).toBe(0)
      // Its id is free again.
      askLarge(peer, 1)
      await until(() => peer.dataBytes === MiB, 'data')
    } finally {
      walnut.store.hold = false
      peer.socket.destroy()
    }
  })

  it('lets go of the store when the peer leaves', async () => {
    const peer = await open()
    for (let id = 1; id <= 40; id += 1) askLarge(peer, id)
    await until(() => peer.dataBytes > 0, 'data')
    peer.socket.destroy()
    await until(() => large.reading === 0, 'the store to be let go')
  })
})

describe('bulk port, against a peer that breaks the rules', () => {
  const range = { type: 'range' as const, hash: large.hash, start: 0, length: RANGE_BYTES_MAX }

  it.each<[string, Buffer]>([
    ['an answer', encodeFrame(1, { type: 'head', sizeBytes: 1, start: 0, length: 1 })],
    ['a pong', encodeFrame(0, { type: 'pong' })],
    ['a farewell', encodeFrame(0, { type: 'goodbye' })],
    ['data', Buffer.concat([encodeDataHeader(1, 3), Buffer.from('abc')])],
    ['an id that is in use', Buffer.concat([encodeFrame(1, range), encodeFrame(1, range)])],
    [
      'more ranges than anybody may ask for',
      Buffer.concat(
        Array.from({ length: BULK_RANGES_PER_CONNECTION_MAX + 1 }, (_, id) =>
          encodeFrame(id, range),
        ),
      ),
    ],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: walnut\r\n\r\n')],
  ])('cuts off a peer that sends %s', async (_what, bytes) => {
    const peer = await open()
    walnut.store.hold = true
    peer.socket.write(bytes)
    await peer.closed
    walnut.store.hold = false
    await until(() => large.reading === 0 && walnut.store.held === 0, 'the store to be let go')
    await expectServes()
  })

  it('serves on after any bytes', async () => {
    const garbage = fc.uint8Array({ minLength: 1, maxLength: 3_000 })
    await fc.assert(
      fc.asyncProperty(garbage, async (bytes) => {
        const peer = await open()
        peer.socket.write(bytes)
        peer.socket.end()
        await peer.closed
      }),
      { numRuns: GARBAGE_CONNECTIONS },
    )
    await expectServes()
  })

  it('gives up on a peer that asks and does not read', async () => {
    const peer = await open()
    large.bytesRead = 0
    peer.socket.pause()
    for (let id = 1; id <= 90; id += 1) askLarge(peer, id)
    await until(() => large.bytesRead > 0, 'the first reads')
    await until(() => large.reading === 0, 'the store to be let go')
    // What the two kernels keep, and the few ranges that are in hand.
    expect(large.bytesRead).toBeLessThan(LARGE_BYTES / 3)
    await until(async () => (await walnut.connections('inbound')) === 0, 'the connection to go')
    peer.socket.destroy()
    await expectServes()
  })

  it('gives up on a peer that wants to be answered and does not read', async () => {
    const peer = await open()
    const pings = Buffer.concat(
      Array.from({ length: 20_000 }, () => encodeFrame(0, { type: 'ping' })),
    )
    let open_ = true
    void peer.closed.then(() => (open_ = false))
    const before = process.memoryUsage().rss
    peer.socket.pause()
    // Endless, if nobody stops it.
    while (open_) {
      if (!peer.socket.write(pings)) {
        await Promise.race([
          new Promise((resolve) => peer.socket.once('drain', resolve)),
          peer.closed,
        ])
      }
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * MiB)
    await expectServes()
  })
})

describe('bulk port, stopping', () => {
  it('ends what it was asked for and takes leave', async () => {
    const node = createBulkNode()
    node.allowList.add(friend.peerId)
    await node.transfer.start()
    const bytes = randomBytes(600 * KiB)
    const { hash } = await node.store.put(bytes)
    const peer = await connectRaw(node.transfer.port ?? 0, friend)
    node.store.hold = true
    for (let id = 1; id <= 6; id += 1) {
      peer.send(id, { type: 'range', hash, start: 0, length: bytes.length })
    }
    await until(() => node.store.held === 4, 'the ranges to be read')
    const stopped = node.transfer.stop()
    await until(() => peer.has('goodbye'), 'the farewell')
    node.store.hold = false
    await stopped
    await peer.closed
    expect(peer.dataBytes).toBe(6 * bytes.length)
    expect(node.transfer.port).toBeNull()
    expect(node.told).toEqual([expect.any(Number), null])
  })

  it('does not wait for ever for a store that hangs', async () => {
    const node = createBulkNode()
    node.allowList.add(friend.peerId)
    await node.transfer.start()
    const peer = await connectRaw(node.transfer.port ?? 0, friend)
    node.store.hold = true
    peer.send(1, { type: 'range', hash: large.hash, start: 0, length: 1 })
    await until(() => node.store.held === 1, 'the range to be read')
    await node.transfer.stop()
    await peer.closed
    node.store.hold = false
  })
})
