import { once } from 'node:events'
import type { AddressInfo, OnReadOpts } from 'node:net'
import { connect, createServer, type ConnectionOptions, type TLSSocket } from 'node:tls'

import { createNodeKey } from '../../p2p-daemon/mesh/node-key.ts'
import { createTLSOptions } from '../../p2p-daemon/transfer/bulk-identity.ts'
import { KiB } from '../../shared/limits.ts'
import { Arrival } from './arrival.ts'
import type { Client } from './contenders.ts'
import type { Payload, Work } from './payload.ts'
import { createRequestReader, encodeRequest } from './request.ts'

/** Of 64 KiB to 1 MiB the size at which plain TLS is fastest. */
const WRITE_BYTES = 256 * KiB

/** Plain Node TLS 1.3, a certificate on either side: pipelined requests, bytes without frames. */
export async function servePlainTLS(payload: Payload): Promise<number> {
  const server = createServer({ ...(await createTLSOptions(createNodeKey())), noDelay: true })
  server.on('secureConnection', (socket) => {
    const read = createRequestReader()
    let serving: Promise<void> = Promise.resolve()
    socket.on('error', () => socket.destroy())
    socket.on('data', (bytes: Uint8Array) => {
      for (const { start, length } of read(bytes)) {
        serving = serving.then(() => send(socket, payload.bytes.subarray(start, start + length)))
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function send(socket: TLSSocket, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; at += WRITE_BYTES) {
    if (!socket.write(bytes.subarray(at, at + WRITE_BYTES))) await once(socket, 'drain')
  }
}

/**
 * `events` gets a buffer of its own for everything that arrives, which it could keep or pass on
 * as ours does; `in place` hashes in one buffer that is overwritten, and could not.
 */
export async function connectPlainTLS(port: number, how: 'events' | 'in place'): Promise<Client> {
  let arrival: Arrival | undefined
  const options: ConnectionOptions & { onread?: OnReadOpts } = {
    ...(await createTLSOptions(createNodeKey())),
    host: '127.0.0.1',
    port,
  }
  if (how === 'in place') {
    const take = (length: number, bytes: Uint8Array): boolean => {
      arrival?.push(bytes.subarray(0, length))
      return true
    }
    options.onread = { buffer: Buffer.alloc(64 * KiB), callback: take }
  }
  const socket = connect(options)
  socket.setNoDelay(true)
  socket.on('error', (error) => arrival?.fail(error))
  if (how === 'events') socket.on('data', (bytes: Uint8Array) => arrival?.push(bytes))
  await once(socket, 'secureConnect')
  return {
    fetch: (work: Work) => {
      arrival = new Arrival(work)
      const requests = work.blobs.map(({ start, length }) => encodeRequest(start, length))
      socket.write(Buffer.concat(requests))
      return arrival.done
    },
    close: async () => {
      socket.destroy()
    },
  }
}
