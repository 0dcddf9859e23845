import { randomBytes } from 'node:crypto'

import type { Stream } from '@libp2p/interface'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { framed } from '../../../p2p-daemon/mesh/framing.ts'
import type { BlobRead } from '../../../p2p-daemon/store/blob-store.ts'
import { MemoryStore } from '../../../p2p-daemon/store/memory-store.ts'
import { BLOB_PROTOCOL, RANGE_BYTES_MAX } from '../../../p2p-daemon/transfer/constants.ts'
import { encodeMessage, type RangeMessage } from '../../../p2p-daemon/transfer/range-message.ts'
import { StreamTransfer } from '../../../p2p-daemon/transfer/stream-transfer.ts'
import { hashBytes } from '../../../shared/blob/hash.ts'
import {
  BlobCorruptError,
  PeerUnreachableError,
  ProtocolViolationError,
  RemoteError,
} from '../../../shared/errors.ts'
import { MiB } from '../../../shared/limits.ts'
import { startCluster, until, type TestCluster } from '../../helpers/mesh.ts'

const HASH = 'ab'.repeat(32)
const store = new MemoryStore()
let corruptAfterBytes: number | undefined
let cluster: TestCluster
let transfer: StreamTransfer
/** What the hostile peer does with a stream that asks it for blobs. */
let misbehave: (stream: Stream) => Promise<void>

beforeAll(async () => {
  cluster = await startCluster({
    names: ['honest', 'hostile'],
    attach: ({ name, log, mesh, registry }) => {
      if (name === 'hostile') {
        const handler = (stream: Stream): Promise<void> => misbehave(stream)
        mesh.handleStream(BLOB_PROTOCOL, handler, { inboundMax: 100 })
        return []
      }
      const served = {
        stat: (hash: string) => store.stat(hash),
        get: async (...args: Parameters<MemoryStore['get']>) => failing(await store.get(...args)),
      }
      const components = { log, mesh, registry, store: served }
      transfer = new StreamTransfer(components, { stallTimeoutMs: 1_000 })
      return [transfer]
    },
  })
})
afterAll(() => cluster.stop())

/** A read that finds its copy damaged once so many bytes were sent. */
function failing(read: BlobRead): BlobRead {
  const limit = corruptAfterBytes
  if (limit === undefined) return read
  return {
    ...read,
    body: (async function* () {
      let sent = 0
      for await (const chunk of read.body) {
        if ((sent += chunk.length) > limit) throw new BlobCorruptError('The copy is damaged.')
        yield chunk
      }
    })(),
  }
}

/** Answers the first request with these messages and then says nothing more. */
function answerWith(messages: RangeMessage[]): (stream: Stream) => Promise<void> {
  return async (stream) => {
    const frames = framed(stream, { frameBytesMax: 1024 })
    await frames.read()
    for (const message of messages) await frames.write(encodeMessage(message))
  }
}

async function fetchAll(): Promise<unknown> {
  try {
    const { body } = await transfer.fetch(cluster.node('hostile').nodeKey.peerId, HASH)
    let received = 0
    for await (const chunk of body) received += chunk.length
    return received
  } catch (error) {
    return error
  }
}

async function openToHonest(): Promise<Stream> {
  const signal = AbortSignal.timeout(10_000)
  const { peerId } = cluster.node('honest').nodeKey
  return cluster
    .node('hostile')
    .mesh.openStream(peerId, BLOB_PROTOCOL, { signal, outboundMax: 500 })
}

async function untilReset(stream: Stream): Promise<void> {
  await until(() => stream.status !== 'open', 'the reset')
}

describe('stream-transfer, fetching from a hostile peer', () => {
  const head: RangeMessage = { type: 'head', sizeBytes: 3 * MiB, start: 0, length: RANGE_BYTES_MAX }
  const data: RangeMessage = { type: 'data', bytes: Buffer.alloc(200_000) }

  it.each<[string, RangeMessage[]]>([
    ['data before any head', [data]],
    ['a request in place of an answer', [{ type: 'range', hash: HASH, start: 0, length: 1 }]],
    ['the head of another range', [{ ...head, start: 7 }]],
    ['a head that is shorter than the blob allows', [{ ...head, length: 10 }]],
    ['more data than announced', [{ ...head, sizeBytes: 10, length: 10 }, data]],
    ['a second head in the data', [head, head]],
    [
      'another size for the next range',
      [
        { ...head, sizeBytes: MiB + 1 },
        ...Array.from({ length: 4 }, () => ({
          type: 'data' as const,
          bytes: Buffer.alloc(MiB / 4),
        })),
        { type: 'head', sizeBytes: MiB + 2, start: MiB, length: 1 },
      ],
    ],
  ])('calls %s a violation', async (_what, messages) => {
    misbehave = answerWith(messages)
    expect(await fetchAll()).toBeInstanceOf(ProtocolViolationError)
  })

  it('gives up on a peer that stops in the middle', async () => {
    misbehave = answerWith([head, data])
    const error = await fetchAll()
    expect(error).toBeInstanceOf(PeerUnreachableError)
    expect((error as Error).message).toBe('The peer stopped sending.')
  })

  it('gives up on a peer that closes in the middle', async () => {
    misbehave = async (stream) => {
      await answerWith([head, data])(stream)
      await stream.close()
    }
    expect(await fetchAll()).toBeInstanceOf(PeerUnreachableError)
  })

  it('passes on why the peer could not go on', async () => {
    misbehave = answerWith([head, data, { type: 'error', code: 'BZZZ_BLOB_CORRUPT', message: '!' }])
    const error = await fetchAll()
    expect(error).toBeInstanceOf(RemoteError)
    expect(error).toMatchObject({ code: 'BZZZ_BLOB_CORRUPT', status: 503 })
  })

  it('resets a peer that sends without being asked instead of keeping it all', async () => {
    let sent = 0
    misbehave = async (stream) => {
      const frames = framed(stream, { frameBytesMax: 1024 })
      await frames.read()
      await frames.write(encodeMessage(head))
      const bytes = encodeMessage({ type: 'data', bytes: Buffer.alloc(256 * 1024) })
      for (; sent < 256 * MiB; sent += bytes.length) await frames.write(bytes)
    }
    const { body } = await transfer.fetch(cluster.node('hostile').nodeKey.peerId, HASH)
    // Nobody reads the body while the peer pours.
    let before = -1
    await until(async () => {
      const rested = sent === before
      before = sent
      await new Promise((resolve) => setTimeout(resolve, 200))
      return rested
    }, 'the flood to end')
    expect(sent).toBeLessThan(48 * MiB)
    await expect(body[Symbol.asyncIterator]().next()).rejects.toThrow()
  })

  it('settles whatever the peer sends', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 80 }), async (bytes) => {
        misbehave = async (stream) => {
          stream.send(bytes)
          await stream.close()
        }
        expect(await fetchAll()).toBeInstanceOf(Error)
      }),
      { numRuns: 100 },
    )
  })
})

describe('stream-transfer, serving a hostile peer', () => {
  it.each<[string, Buffer]>([
    ['a frame longer than a request', Buffer.from([0, 0, 1, 0, 1, 2, 3])],
    ['a frame of four gigabytes', Buffer.from([255, 255, 255, 255])],
    [
      'an answer',
      Buffer.concat([
        Buffer.from([0, 0, 0, 2]),
        encodeMessage({ type: 'data', bytes: Buffer.alloc(1) }),
      ]),
    ],
  ])('resets a stream with %s', async (_what, bytes) => {
    const stream = await openToHonest()
    stream.send(bytes)
    await untilReset(stream)
  })

  it('resets a stream with more requests than may be outstanding', async () => {
    const bytes = randomBytes(8 * MiB)
    const { hash } = await store.put(bytes)
    const stream = await openToHonest()
    const frames = framed(stream, { frameBytesMax: MiB })
    const request = encodeMessage({ type: 'range', hash, start: 0, length: RANGE_BYTES_MAX })
    await frames.writeV(Array.from({ length: 50 }, () => request))
    await untilReset(stream)
  })

  it('gives up on a peer that asks and does not read', async () => {
    const { hash } = await store.put(randomBytes(64 * MiB))
    const stream = await openToHonest()
    stream.addEventListener('message', () => queueMicrotask(() => pauseQuietly(stream)))
    const frame = Buffer.alloc(4 + 45)
    for (let n = 0; n < 4; n += 1) {
      const length = RANGE_BYTES_MAX
      const request = encodeMessage({ type: 'range', hash, start: n * length, length })
      frame.writeUInt32BE(request.length, 0)
      frame.set(request, 4)
      stream.send(Buffer.from(frame))
    }
    await untilReset(stream)
  })

  it('sends the error of a copy that turns out damaged instead of its bytes', async () => {
    const { hash } = await store.put(randomBytes(MiB))
    corruptAfterBytes = 100_000
    const stream = await openToHonest()
    const frames = framed(stream, { frameBytesMax: MiB })
    await frames.write(encodeMessage({ type: 'range', hash, start: 0, length: MiB }))
    const types: number[] = []
    const signal = AbortSignal.timeout(10_000)
    while (types.at(-1) !== 4) types.push((await frames.read({ signal })).get(0))
    corruptAfterBytes = undefined
    expect(types[0]).toBe(2)
    stream.abort(new Error('done'))
  })

  it('serves on after any bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 80 }), async (bytes) => {
        const stream = await openToHonest()
        stream.send(bytes)
        await stream.close()
        await untilReset(stream)
      }),
      { numRuns: 100 },
    )
    const { hash } = await store.put(Buffer.from('still here'))
    const stream = await openToHonest()
    const frames = framed(stream, { frameBytesMax: MiB })
    await frames.write(encodeMessage({ type: 'range', hash, start: 0, length: 100 }))
    await frames.read()
    const data = (await frames.read()).subarray().subarray(1)
    expect(hashBytes(data)).toBe(hash)
    stream.abort(new Error('done'))
  })
})

function pauseQuietly(stream: Stream): void {
  if (stream.readStatus === 'readable') stream.pause()
}
