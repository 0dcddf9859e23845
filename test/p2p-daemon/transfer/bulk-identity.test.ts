import { randomBytes } from 'node:crypto'
import { connect, type ConnectionOptions } from 'node:tls'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { createNodeKey } from '../../../p2p-daemon/mesh/node-key.ts'
import { encodeFrame } from '../../../p2p-daemon/transfer/bulk-frame.ts'
import { createTLSOptions } from '../../../p2p-daemon/transfer/bulk-identity.ts'
import { RANGE_BYTES_MAX } from '../../../p2p-daemon/transfer/constants.ts'
import { PeerUnreachableError } from '../../../shared/errors.ts'
import {
  connectRaw,
  createBulkNode,
  serveRaw,
  type RawPeer,
  type RawServer,
} from '../../helpers/bulk.ts'
import { createCertificate, createCertificateKey } from '../../helpers/certificate.ts'
import { until } from '../../helpers/mesh.ts'
import { collect } from '../../suites/blob-transfer.ts'

const walnut = createBulkNode()
const friend = createNodeKey()
const stranger = createNodeKey()
let hash: string
let port: number

beforeAll(async () => {
  await walnut.transfer.start()
  port = walnut.transfer.port ?? 0
  walnut.allowList.add(friend.peerId)
  ;({ hash } = await walnut.store.put(randomBytes(5_000)))
})
afterAll(() => walnut.transfer.stop())

function range(): Buffer {
  return encodeFrame(1, { type: 'range', hash, start: 0, length: RANGE_BYTES_MAX })
}

/** Sends a request with the first bytes that TLS lets through, and reports what came back. */
async function askAtOnce(options: ConnectionOptions, key = friend): Promise<RawPeer> {
  const peer = await connectRaw(port, key, options)
  peer.socket.write(range())
  return peer
}

async function expectRefused(peer: RawPeer): Promise<void> {
  const reads = walnut.store.reads
  await peer.closed
  expect(peer.bytes).toBe(0)
  expect(walnut.store.reads).toBe(reads)
}

describe('bulk port, who is let in', () => {
  it('serves a peer on the allow-list', async () => {
    const peer = await askAtOnce({})
    await until(() => peer.dataBytes === 5_000, 'the blob')
    peer.socket.destroy()
  })

  it('refuses a peer that is not on the allow-list', async () => {
    await expectRefused(await askAtOnce({}, stranger))
  })

  it('refuses itself', async () => {
    walnut.allowList.add(walnut.key.peerId)
    await expectRefused(await askAtOnce({}, walnut.key))
  })

  it('refuses a client with a plain self-signed certificate', async () => {
    await expectRefused(await askAtOnce(await createCertificate()))
  })

  it('refuses a client without a certificate', async () => {
    const { ALPNProtocols } = await createTLSOptions(friend)
    const socket = connect({
      host: '127.0.0.1',
      port,
      rejectUnauthorized: false,
      ...(ALPNProtocols && { ALPNProtocols }),
    })
    let received = 0
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.on('error', () => undefined)
    socket.on('data', (bytes) => (received += bytes.length))
    socket.on('secureConnect', () => socket.write(range()))
    const reads = walnut.store.reads
    await closed
    expect(received).toBe(0)
    expect(walnut.store.reads).toBe(reads)
  })

  it('serves a friend with a certificate that was made by hand', async () => {
    const key = createCertificateKey()
    const claim = { nodeKey: friend, signedFor: key }
    const peer = await askAtOnce(await createCertificate({ key, claim }))
    await until(() => peer.dataBytes === 5_000, 'the blob')
    peer.socket.destroy()
  })

  it('refuses the claim of a friend in a certificate with another key', async () => {
    const claim = { nodeKey: friend, signedFor: createCertificateKey() }
    await expectRefused(await askAtOnce(await createCertificate({ claim })))
  })

  it.each([
    ['expired', { validToMs: Date.now() - 60_000 }],
    ['not valid yet', { validFromMs: Date.now() + 3_600_000 }],
  ])('refuses a certificate that is %s', async (_what, validity) => {
    const key = createCertificateKey()
    const claim = { nodeKey: friend, signedFor: key }
    await expectRefused(await askAtOnce(await createCertificate({ key, claim, ...validity })))
  })

  it('refuses TLS 1.2', async () => {
    const peer = await connectRaw(port, friend, { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' })
    await expectRefused(peer)
  })

  it.each([[[] as string[]], [['libp2p']]])('refuses the protocols %j', async (protocols) => {
    await expectRefused(await askAtOnce({ ALPNProtocols: protocols }))
  })

  it('never resumes a session', async () => {
    const first = await connectRaw(port, friend)
    const sessions: Buffer[] = []
    first.socket.on('session', (session) => sessions.push(session))
    first.send(0, { type: 'ping' })
    await until(() => first.has('pong'), 'the pong')
    const session = sessions.at(-1) ?? first.socket.getSession()
    first.socket.destroy()
    // Not with its own identity, and not to borrow it for another one.
    for (const key of [friend, stranger]) {
      const again = await connectRaw(port, key, session ? { session } : {})
      expect(again.socket.isSessionReused()).toBe(false)
      again.socket.destroy()
    }
  })

  it('cuts a peer that is struck from the list while it is served', async () => {
    const revoked = createNodeKey()
    walnut.allowList.add(revoked.peerId)
    const { large } = walnut.store
    const peer = await connectRaw(port, revoked)
    for (let id = 1; id <= 4; id += 1) {
      const start = id * RANGE_BYTES_MAX
      peer.send(id, { type: 'range', hash: large.hash, start, length: RANGE_BYTES_MAX })
    }
    await until(() => peer.dataBytes > 0, 'data')
    walnut.allowList.remove(revoked.peerId)
    await peer.closed
    await expectRefused(await askAtOnce({}, revoked))
  })
})

/** The client has hung up, perhaps before the server knew that the handshake had ended. */
async function expectNothingSent(server: RawServer): Promise<void> {
  await until(() => server.gone > 0, 'the end of the connection')
  for (const { bytes } of server.connections) expect(bytes).toBe(0)
  await server.close()
}

describe('bulk client, whom it trusts', () => {
  it('asks another node nothing, although it is allowed to be here', async () => {
    const ironwood = createBulkNode()
    const expected = createNodeKey()
    const other = createNodeKey()
    const server = await serveRaw(other, () => undefined)
    ironwood.meet(expected.peerId, server.port)
    ironwood.allowList.add(other.peerId)
    const fetched = ironwood.transfer.fetch(expected.peerId, hash)
    await expect(fetched).rejects.toBeInstanceOf(PeerUnreachableError)
    await expectNothingSent(server)
  })

  it('asks a server with a plain certificate nothing', async () => {
    const ironwood = createBulkNode()
    const expected = createNodeKey()
    const server = await serveRaw(expected, () => undefined, await createCertificate())
    ironwood.meet(expected.peerId, server.port)
    const fetched = ironwood.transfer.fetch(expected.peerId, hash)
    await expect(fetched).rejects.toBeInstanceOf(PeerUnreachableError)
    await expectNothingSent(server)
  })

  it('takes no word of another node', async () => {
    const ironwood = createBulkNode()
    const expected = createNodeKey()
    // Answers before it is asked, as if the question had been put.
    const server = await serveRaw(createNodeKey(), (peer) => peer.send(0, { type: 'pong' }))
    ironwood.meet(expected.peerId, server.port)
    const fetched = ironwood.transfer.fetch(expected.peerId, hash)
    await expect(fetched).rejects.toThrow()
    await expectNothingSent(server)
  })

  it('closes its connection to a peer that is struck from the list', async () => {
    const ironwood = createBulkNode()
    await ironwood.transfer.start()
    ironwood.meet(walnut.key.peerId, port)
    walnut.allowList.add(ironwood.key.peerId)
    const remote = await ironwood.transfer.fetch(walnut.key.peerId, walnut.store.large.hash)
    ironwood.allowList.remove(walnut.key.peerId)
    await expect(collect(remote)).rejects.toBeInstanceOf(PeerUnreachableError)
    await ironwood.transfer.stop()
  })
})
