import { randomBytes } from 'node:crypto'

import { describe, expect, it } from 'vitest'

import { framed } from '../../../p2p-daemon/mesh/framing.ts'
import { KiB, MiB } from '../../../shared/limits.ts'
import { startCluster, until, type TestNode } from '../../helpers/mesh.ts'

const ECHO = '/bzzz/test-echo/1.0.0'
const SLOW = '/bzzz/test-slow/1.0.0'
const CONVERSATIONS = 200
const TURNS = 10
const FRAME_BYTES_MAX = 64 * KiB

/** Far more than the window of a stream and the buffers of a connection hold. */
const SLOW_BYTES = 32 * MiB

const never = new AbortController().signal

interface SlowReader {
  received: number
  begun: PromiseWithResolvers<void>
  release: PromiseWithResolvers<void>
}

/** Answers every frame with itself, and reads nothing of the other protocol until released. */
function serve(node: TestNode, slow: SlowReader): void {
  node.mesh.handleStream(
    ECHO,
    async (stream) => {
      const frames = framed(stream, { frameBytesMax: FRAME_BYTES_MAX })
      for (let turn = 0; turn < TURNS; turn += 1) await frames.write(await frames.read())
    },
    { inboundMax: 2 * CONVERSATIONS },
  )
  node.mesh.handleStream(
    SLOW,
    async (stream) => {
      stream.pause()
      stream.addEventListener('message', ({ data }) => {
        slow.received += data.byteLength
      })
      slow.begun.resolve()
      await slow.release.promise
      stream.resume()
    },
    { inboundMax: 1 },
  )
}

describe('many conversations over one connection', () => {
  it('go on while somebody does not read', async () => {
    const slow = {
      received: 0,
      begun: Promise.withResolvers<void>(),
      release: Promise.withResolvers<void>(),
    }
    await using cluster = await startCluster({
      names: ['walnut', 'ironwood'],
      attach: (node) => {
        serve(node, slow)
        return []
      },
    })
    const [walnut, ironwood] = cluster.nodes as [TestNode, TestNode]
    const { peerId } = ironwood.nodeKey
    const open = (protocol: string) =>
      walnut.mesh.openStream(peerId, protocol, { signal: never, outboundMax: 2 * CONVERSATIONS })

    const stalled = await open(SLOW)
    let sent = 0
    const sending = (async () => {
      const chunk = Buffer.alloc(256 * KiB)
      for (; sent < SLOW_BYTES; sent += chunk.length) {
        if (stalled.send(chunk)) continue
        await new Promise((resolve) => {
          stalled.addEventListener('drain', resolve, { once: true })
        })
      }
    })()
    await slow.begun.promise
    await until(() => sent > 0 && stalled.writableNeedsDrain, 'the sender to be held up')

    const streams = await Promise.all(Array.from({ length: CONVERSATIONS }, () => open(ECHO)))
    const talks = streams.map(async (stream) => {
      const frames = framed(stream, { frameBytesMax: FRAME_BYTES_MAX })
      for (let turn = 0; turn < TURNS; turn += 1) {
        const said = randomBytes(4 * KiB)
        await frames.write(said)
        const heard = (await frames.read()).subarray()
        if (!said.equals(heard)) throw new Error('Something else came back.')
      }
      await stream.close()
      return true
    })
    expect(await Promise.all(talks)).toHaveLength(CONVERSATIONS)
    expect(sent).toBeLessThan(SLOW_BYTES)
    expect(slow.received).toBe(0)

    slow.release.resolve()
    await sending
    await until(() => slow.received === SLOW_BYTES, 'all of it to arrive after all')
  })
})
