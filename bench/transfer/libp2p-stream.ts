import { yamux } from '@chainsafe/libp2p-yamux'
import type { Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

import { KiB, MiB } from '../../shared/limits.ts'
import { Arrival } from './arrival.ts'
import type { Client } from './contenders.ts'
import type { Payload, Work } from './payload.ts'
import { createRequestReader, encodeRequest } from './request.ts'

const PROTOCOL = '/bench/range/1.0.0'

/** The settings at which a libp2p stream is fastest, of those tried. */
const WINDOW_BYTES = 4 * MiB
const WINDOW_BYTES_MAX = 16 * MiB
const RANGE_BYTES = 1 * MiB
const OUTSTANDING_BYTES = 16 * MiB
const SEND_BYTES = 256 * KiB

function createNode(listen: string[]) {
  return createLibp2p({
    addresses: { listen },
    transports: [tcp()],
    connectionEncrypters: [tls()],
    streamMuxers: [
      yamux({
        streamOptions: {
          initialStreamWindowSize: WINDOW_BYTES,
          maxStreamWindowSize: WINDOW_BYTES_MAX,
        },
      }),
    ],
  })
}

/** One libp2p stream over TCP, TLS and yamux: the same requests, bytes without frames. */
export async function serveLibp2p(payload: Payload): Promise<string> {
  const node = await createNode(['/ip4/127.0.0.1/tcp/0'])
  await node.handle(PROTOCOL, (stream: Stream) => {
    const read = createRequestReader()
    let serving: Promise<void> = Promise.resolve()
    stream.addEventListener('message', ({ data }) => {
      for (const { start, length } of read(data.subarray())) {
        const bytes = payload.bytes.subarray(start, start + length)
        serving = serving.then(() => send(stream, bytes)).catch(() => undefined)
      }
    })
  })
  return node.getMultiaddrs()[0]?.toString() ?? ''
}

async function send(stream: Stream, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at += SEND_BYTES) {
    if (stream.send(bytes.subarray(at, at + SEND_BYTES))) continue
    // `onDrain` waits only once in the life of a stream.
    await new Promise((resolve) => {
      stream.addEventListener('drain', resolve, { once: true })
    })
  }
}

export async function connectLibp2p(address: string): Promise<Client> {
  const node = await createNode([])
  const connection = await node.dial(multiaddr(address))
  const stream = await connection.newStream(PROTOCOL)
  let onBytes = (_bytes: Uint8Array): void => undefined
  stream.addEventListener('message', ({ data }) => {
    for (const bytes of data instanceof Uint8Array ? [data] : data) onBytes(bytes)
  })
  return {
    fetch: (work: Work) => {
      const arrival = new Arrival(work)
      const ranges = work.blobs.flatMap(({ start, length }) => rangesOf(start, length))
      let outstanding = 0
      const ask = (): void => {
        while (ranges.length > 0 && outstanding < OUTSTANDING_BYTES) {
          const { start, length } = ranges.shift()!
          outstanding += length
          stream.send(encodeRequest(start, length))
        }
      }
      onBytes = (bytes) => {
        outstanding -= bytes.length
        arrival.push(bytes)
        ask()
      }
      ask()
      return arrival.done
    },
    close: () => node.stop() as Promise<void>,
  }
}

function rangesOf(start: number, length: number): { start: number; length: number }[] {
  return Array.from({ length: Math.ceil(length / RANGE_BYTES) }, (_, index) => ({
    start: start + index * RANGE_BYTES,
    length: Math.min(RANGE_BYTES, length - index * RANGE_BYTES),
  }))
}
