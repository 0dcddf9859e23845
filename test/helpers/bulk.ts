import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import {
  connect,
  createServer,
  type ConnectionOptions,
  type Server,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls'

import type { AllowList } from '../../p2p-daemon/mesh/allow-list.ts'
import type { Peer } from '../../p2p-daemon/mesh/mesh.ts'
import { createNodeKey, type NodeKey } from '../../p2p-daemon/mesh/node-key.ts'
import {
  encodeFrame,
  FrameDecoder,
  type BulkMessage,
} from '../../p2p-daemon/transfer/bulk-frame.ts'
import { createTLSOptions } from '../../p2p-daemon/transfer/bulk-identity.ts'
import { BulkTransfer, type BulkTransferInit } from '../../p2p-daemon/transfer/bulk-transfer.ts'
import { createSilentLogger } from '../../shared/log/log.ts'
import { Registry } from '../../shared/metrics/metrics.ts'
import { SourceStore } from './source-store.ts'

/** An allow-list that a test changes. */
export class OpenList implements Pick<AllowList, 'has' | 'onChange'> {
  readonly #peerIds = new Set<string>()
  readonly #listeners = new Set<() => void>()

  has(peerId: string): boolean {
    return this.#peerIds.has(peerId)
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  add(...peerIds: string[]): void {
    for (const peerId of peerIds) this.#peerIds.add(peerId)
    for (const listener of this.#listeners) listener()
  }

  remove(peerId: string): void {
    this.#peerIds.delete(peerId)
    for (const listener of this.#listeners) listener()
  }
}

/** A node with a bulk port and nothing else; where its peers are it is told by the test. */
export interface BulkNode {
  key: NodeKey
  store: SourceStore
  registry: Registry
  allowList: OpenList
  transfer: BulkTransfer
  /** Makes a peer known and allowed, at a port of 127.0.0.1. */
  meet(peerId: string, port: number | null): void
  told: (number | null)[]
  /** Open ones, as the metrics have it. */
  connections(direction: 'inbound' | 'outbound'): Promise<number>
}

export function createBulkNode(init: Partial<BulkTransferInit> = {}): BulkNode {
  const key = createNodeKey()
  const peers = new Map<string, Pick<Peer, 'bulkPort' | 'remoteAddress'>>()
  const told: (number | null)[] = []
  const parts = { store: new SourceStore(), registry: new Registry(), allowList: new OpenList() }
  const mesh = {
    peer: (peerId: string) => peers.get(peerId) as Peer | undefined,
    update: ({ bulkPort }: { bulkPort: number | null }) => void told.push(bulkPort),
  }
  const transfer = new BulkTransfer(
    { ...parts, mesh, nodeKey: key, log: createSilentLogger() },
    { host: '127.0.0.1', port: 0, stallTimeoutMs: 1_000, ...init },
  )
  const meet = (peerId: string, bulkPort: number | null): void => {
    peers.set(peerId, { bulkPort, remoteAddress: '/ip4/127.0.0.1/tcp/4001' })
    parts.allowList.add(peerId)
  }
  const connections = async (direction: 'inbound' | 'outbound'): Promise<number> => {
    const metric = await parts.registry.getSingleMetric('bzzz_transfer_connections')?.get()
    return metric?.values.find(({ labels }) => labels['direction'] === direction)?.value ?? 0
  }
  return { key, ...parts, transfer, meet, told, connections }
}

/** A client that a test drives by hand, with the identity of `key` unless told otherwise. */
export async function connectRaw(
  port: number,
  key: NodeKey,
  options: ConnectionOptions = {},
): Promise<RawPeer> {
  const socket = connect({
    ...(await createTLSOptions(key)),
    host: '127.0.0.1',
    port,
    ...options,
  })
  const peer = new RawPeer(socket)
  await Promise.race([once(socket, 'secureConnect').catch(() => undefined), peer.closed])
  return peer
}

/** One end of a bulk connection that obeys no rules but those of the test. */
export class RawPeer {
  readonly socket: TLSSocket
  readonly messages: { id: number; message: BulkMessage }[] = []
  readonly closed: Promise<void>
  dataBytes = 0
  /** Everything that came in, understood or not. */
  bytes = 0

  constructor(socket: TLSSocket) {
    this.socket = socket
    this.closed = new Promise((resolve) => {
      socket.once('close', () => resolve())
    })
    socket.on('error', () => undefined)
    const decoder = new FrameDecoder({
      onMessage: (id, message) => void this.messages.push({ id, message }),
      onData: (_id, bytes) => void (this.dataBytes += bytes.length),
    })
    socket.on('data', (bytes: Buffer) => {
      this.bytes += bytes.length
      decoder.push(bytes)
    })
  }

  send(id: number, message: BulkMessage): void {
    this.socket.write(encodeFrame(id, message))
  }

  has(type: BulkMessage['type']): boolean {
    return this.messages.some(({ message }) => message.type === type)
  }
}

export interface RawServer {
  port: number
  /** Those whose handshake has ended. */
  connections: RawPeer[]
  /** TCP connections that came and have gone. */
  gone: number
  close: () => Promise<void>
}

/** A bulk port with the identity of `key` on which the test does what it likes. */
export async function serveRaw(
  key: NodeKey,
  onConnection: (peer: RawPeer) => void,
  options: TlsOptions = {},
): Promise<RawServer> {
  const server: Server = createServer({ ...(await createTLSOptions(key)), ...options })
  const raw: RawServer = {
    port: 0,
    connections: [],
    gone: 0,
    close: async () => {
      for (const { socket } of raw.connections) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  server.on('connection', (socket) => socket.once('close', () => (raw.gone += 1)))
  server.on('secureConnection', (socket) => {
    const peer = new RawPeer(socket)
    raw.connections.push(peer)
    onConnection(peer)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  raw.port = (server.address() as AddressInfo).port
  return raw
}
