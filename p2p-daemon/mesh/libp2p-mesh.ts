import { EventEmitter } from 'node:events'

import type { Connection, PeerId, PeerInfo, Stream } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'

import { PeerUnreachableError } from '../../shared/errors.ts'
import type { Logger } from '../../shared/log/log.ts'
import type { Registry } from '../../shared/metrics/metrics.ts'
import { AddressBook } from './address-book.ts'
import { ownAddresses, parseBootstrapAddresses, withoutPeerId } from './addresses.ts'
import type { AllowList } from './allow-list.ts'
import { AnnounceTimer } from './announce-timer.ts'
import { createConnectionGater } from './connection-gater.ts'
import {
  ANNOUNCE_DELAY_MS,
  JOIN_ANNOUNCE_DELAY_MS,
  LISTENERS_MAX,
  MDNS_INTERVAL_MS,
  NODE_INFO_TIMEOUT_MS,
  NODE_PROTOCOL,
  REQUESTS_SERVED_MAX,
} from './constants.ts'
import { Dialler, type BootstrapState } from './dialler.ts'
import { isViolation } from './framing.ts'
import {
  createHost,
  startHost,
  type EncrypterFactory,
  type Host,
  type ServiceFactory,
} from './host.ts'
import { createMeshMetrics, type MeshMetrics } from './mesh-metrics.ts'
import type { Mesh, NodeInfo, Peer, RequestHandler, RequestOptions } from './mesh.ts'
import { NetworkProtector, type NetworkKey } from './network-key.ts'
import { decodeAnnouncement, encodeAnnouncement, type Announcement } from './node-info.ts'
import { createNAT, NAT_OFF, type NAT, type NATInit } from './nat.ts'
import type { NodeKey } from './node-key.ts'
import { peerIdOf } from './peer-ids.ts'
import { isRelayed } from './relay-client.ts'
import { answer } from './request-protocol.ts'
import { Requester } from './requester.ts'
import type { StreamHandlerOptions, StreamHost } from './stream-host.ts'

export interface Libp2pMeshComponents {
  log: Logger
  nodeKey: NodeKey
  /** Started and stopped with the mesh. */
  allowList: AllowList
  registry: Registry
  /** Without it the network has no key. */
  networkKey?: NetworkKey | undefined
  /** Where strangers with an invitation speak; without it nobody can join. */
  door?: { readonly encrypter: EncrypterFactory } | undefined
}

export interface Libp2pMeshInit {
  /** Multiaddrs to listen on: `/ip4/0.0.0.0/tcp/9101`. */
  listen: readonly string[]
  /** Multiaddrs to tell others, where they differ from those listened on (NAT, port mapping). */
  announce?: readonly string[]
  /** `host:port` or multiaddrs of nodes to find the others through; the node itself is skipped. */
  bootstrap?: readonly string[]
  nodeInfo: Omit<NodeInfo, 'peerId'>
  dataDir: string
  nat?: NATInit
  requestTimeoutMs?: number
  /** Looks for members on the local network, and lets itself be found. Default: no. */
  mdns?: boolean
  mdnsIntervalMs?: number
}

/** A peer that has said who it is. What the connection says is kept for the time it is gone. */
interface Member {
  info: NodeInfo
  connectedSinceMs: number
  firstPingMs: number | null
  remoteAddress: string
  direction: 'inbound' | 'outbound'
  link: Peer['link']
  /** Its wall clock at the zero of this node's monotonic one, which nobody can set. */
  clockZeroMs: number | null
}

interface StreamProtocol {
  handler: (stream: Stream, peerId: string) => Promise<void>
  inboundMax: number
}

/**
 * The mesh over libp2p: TCP, TLS 1.3, yamux, and only allow-listed peers.
 *
 *     const nodeKey = await loadNodeKey(dataDir)
 *     const allowList = new FileAllowList({ log }, { dataDir })
 *     const mesh = new Libp2pMesh({ log, nodeKey, allowList, registry }, {
 *       listen: ['/ip4/0.0.0.0/tcp/9101'], bootstrap: ['walnut:9101'], nodeInfo, dataDir,
 *     })
 *     const dht = new RecordDHT({ log, mesh, registry }, { isAuthorAllowed })
 *     const transfer = new StreamTransfer({ log, mesh, store, registry })
 *     await startAll([mesh, dht, transfer])
 *
 * Whatever hangs on the mesh (`handle`, `handleStream`, `addService`) does so in its constructor,
 * before the start. A connection goes through: handshake, gater, exchange of announcements, and
 * then the peer is listed and 'join' is emitted. A peer struck from the allow-list is cut at once.
 */
export class Libp2pMesh implements Mesh, StreamHost {
  readonly #log: Logger
  readonly #nodeKey: NodeKey
  readonly #allowList: AllowList
  readonly #metrics: MeshMetrics
  readonly #components: Libp2pMeshComponents
  readonly #init: Libp2pMeshInit
  readonly #book: AddressBook
  readonly #dialler: Dialler
  readonly #events = new EventEmitter<{ join: [Peer]; leave: [Peer] }>()
  readonly #protocols = new Map<string, StreamProtocol>()
  readonly #services = new Map<string, ServiceFactory>()
  readonly #members = new Map<string, Member>()
  readonly #requester: Requester
  readonly #nat: NAT
  readonly #announcements = new AnnounceTimer({ announce: () => this.#announce() })
  #self: NodeInfo
  #host: Host | undefined
  #unsubscribe: (() => void) | undefined

  constructor(components: Libp2pMeshComponents, init: Libp2pMeshInit) {
    this.#log = components.log.child({ component: 'mesh' })
    this.#nodeKey = components.nodeKey
    this.#allowList = components.allowList
    this.#components = components
    this.#init = init
    this.#self = { ...init.nodeInfo, peerId: components.nodeKey.peerId }
    this.#events.setMaxListeners(LISTENERS_MAX)
    this.#nat = createNAT(init.nat ?? NAT_OFF)
    const isKept = (peerId: string): boolean => this.#isExpected(peerId)
    this.#book = new AddressBook({ log: this.#log, isKept }, { dataDir: init.dataDir })
    this.#dialler = new Dialler(
      {
        log: this.#log,
        selfId: this.#self.peerId,
        dial: async (addresses, signal) => {
          const connection = await this.#requireHost().dial(addresses, { signal })
          return connection.remotePeer.toString()
        },
        dialRelayed: (peerId, signal) => this.#dialRelayed(peerId, signal),
        isConnected: (peerId) => {
          const connection = this.#connectionTo(peerId)
          return connection !== undefined && !isRelayed(connection)
        },
        expectedPeers: () => this.expectedPeers(),
        addressesOf: (peerId) => this.#book.addressesOf(peerId),
      },
      { bootstrap: parseBootstrapAddresses(init.bootstrap ?? []) },
    )
    // Every part that follows peers listens, once each: there are more than ten, and no leak.
    this.#events.setMaxListeners(0)
    this.#metrics = createMeshMetrics(components.registry, {
      connections: () => this.#countConnections(),
      peers: () => this.peers(),
      expectedPeers: () => this.expectedPeers().length,
    })
    this.#requester = new Requester(
      { streams: this, metrics: this.#metrics },
      { timeoutMs: init.requestTimeoutMs },
    )
    this.handle(NODE_PROTOCOL, async ({ peerId, payload }) => {
      this.#learn(peerId, decodeAnnouncement(payload, peerId), performance.now())
      return this.#announcementFor(peerId)
    })
  }

  get self(): NodeInfo {
    return this.#self
  }

  async start(): Promise<void> {
    if (this.#host) return
    await this.#allowList.start()
    await this.#book.load()
    // Set before it listens: the first peer may be there before `start` returns.
    const host = (this.#host = await this.#createHost())
    this.#announcements.start()
    try {
      await startHost(host)
    } catch (error) {
      await this.stop()
      throw error
    }
    this.#unsubscribe = this.#allowList.onChange(() => this.#onAllowListChange())
    await this.#dialler.start()
    this.#log.info({ peerId: this.#self.peerId, addresses: this.addresses() }, 'mesh started')
  }

  /** Nobody is told of peers leaving: it is this node that leaves. */
  async stop(): Promise<void> {
    const host = this.#host
    if (!host) return
    this.#unsubscribe?.()
    this.#announcements.stop()
    await this.#dialler.stop()
    this.#host = undefined
    this.#members.clear()
    await host.stop()
    await this.#book.close()
    await this.#allowList.stop()
    this.#log.info('mesh stopped')
  }

  peers(): readonly Peer[] {
    return [...this.#members.keys()]
      .map((peerId) => this.peer(peerId))
      .filter((peer) => peer !== undefined)
  }

  peer(peerId: string): Peer | undefined {
    const member = this.#members.get(peerId)
    const connection = this.#connectionTo(peerId)
    if (!member || !connection) return undefined
    return toPeer(member, connection)
  }

  expectedPeers(): readonly string[] {
    return this.#allowList.peerIds().filter((peerId) => peerId !== this.#self.peerId)
  }

  /** Where this node can be dialled, with its peer id: an entry for another node's bootstrap. */
  addresses(): readonly string[] {
    return this.#host?.getMultiaddrs().map((address) => address.toString()) ?? []
  }

  /** Where others may dial this node, without its peer id. */
  announced(): readonly string[] {
    return ownAddresses(this.#host?.getMultiaddrs() ?? [])
  }

  /** Where a listed peer can be dialled, known from elsewhere than the mesh. */
  learn(peerId: string, addresses: readonly string[]): void {
    this.#book.add(peerId, addresses)
  }

  /** How the entries of the bootstrap list are, but for this node itself. */
  bootstrap(): readonly BootstrapState[] {
    return this.#dialler.bootstrap()
  }

  /** Changes what this node says about itself and tells everybody. */
  update(changes: Partial<Omit<NodeInfo, 'peerId'>>): void {
    this.#self = { ...this.#self, ...changes }
    this.#announcements.soon(ANNOUNCE_DELAY_MS)
  }

  on(event: 'join' | 'leave', listener: (peer: Peer) => void): void {
    this.#events.on(event, listener)
  }

  /** Makes this node reachable through relays. It does so by itself when it cannot dial a peer. */
  async reserveRelay(): Promise<void> {
    const host = this.#requireHost()
    await this.#nat.relays?.reserve(host).catch((error: Error) => {
      this.#log.debug({ err: error }, 'no relay reservation')
    })
  }

  handle(protocol: string, handler: RequestHandler): void {
    const counted: RequestHandler = async (request) => {
      try {
        return await handler(request)
      } catch (error) {
        if (isViolation(error)) this.#metrics.violations.inc({ protocol })
        throw error
      }
    }
    this.handleStream(protocol, (stream, peerId) => answer(stream, peerId, counted), {
      inboundMax: REQUESTS_SERVED_MAX,
    })
  }

  handleStream(
    protocol: string,
    handler: (stream: Stream, peerId: string) => Promise<void>,
    options: StreamHandlerOptions,
  ): void {
    this.#assertNotStarted()
    this.#protocols.set(protocol, { handler, inboundMax: options.inboundMax })
  }

  /** A libp2p service that lives and ends with the host. Must be called before `start`. */
  addService(name: string, factory: ServiceFactory): void {
    this.#assertNotStarted()
    this.#services.set(name, factory)
  }

  /** The service as its factory made it. Only between `start` and `stop`. */
  service<T>(name: string): T {
    return this.#requireHost().services[name] as T
  }

  request(
    peerId: string,
    protocol: string,
    payload: Uint8Array,
    options: RequestOptions = {},
  ): Promise<Uint8Array> {
    return this.#requester.request(peerId, protocol, payload, options)
  }

  async openStream(
    peerId: string,
    protocol: string,
    options: { signal: AbortSignal; outboundMax: number },
  ): Promise<Stream> {
    options.signal.throwIfAborted()
    const connection = this.#connectionTo(peerId)
    if (!connection) throw new PeerUnreachableError('There is no connection to the peer.')
    try {
      return await connection.newStream(protocol, {
        signal: options.signal,
        maxOutboundStreams: options.outboundMax,
        runOnLimitedConnection: true,
      })
    } catch (error) {
      options.signal.throwIfAborted()
      throw new PeerUnreachableError('The peer did not open a stream.', { cause: error })
    }
  }

  async #createHost(): Promise<Host> {
    const host = await createHost({
      nodeKey: this.#nodeKey,
      listen: this.#init.listen,
      announce: this.#init.announce ?? [],
      services: this.#services,
      nat: this.#nat,
      door: this.#components.door?.encrypter,
      protector: this.#createProtector(),
      mdns: this.#init.mdns ? this.#localSearch() : undefined,
      connectionGater: createConnectionGater({
        selfId: this.#self.peerId,
        isAllowed: (peerId) => this.#isExpected(peerId),
        onDenied: (peerId, direction) => {
          this.#metrics.connects.inc({ result: 'denied' })
          this.#log.warn({ peerId, direction }, 'peer is not on the allow-list, refused')
        },
      }),
    })
    for (const [protocol, { handler, inboundMax }] of this.#protocols) {
      const listener = (stream: Stream, connection: Connection): void => {
        const peerId = connection.remotePeer.toString()
        handler(stream, peerId).catch((error: Error) => {
          if (isViolation(error)) this.#metrics.violations.inc({ protocol })
          this.#log.debug({ err: error, peerId, protocol }, 'stream failed')
          stream.abort(error)
        })
      }
      await host.handle(protocol, listener, {
        maxInboundStreams: inboundMax,
        maxOutboundStreams: inboundMax,
        // A peer behind a NAT is a peer like any other, only farther away.
        runOnLimitedConnection: true,
      })
    }
    host.addEventListener('connection:open', ({ detail }) => this.#onConnection(detail))
    host.addEventListener('peer:disconnect', ({ detail }) => this.#onGone(detail.toString()))
    return host
  }

  #localSearch() {
    return {
      intervalMs: this.#init.mdnsIntervalMs ?? MDNS_INTERVAL_MS,
      // Of strangers the book keeps nothing.
      onFound: ({ id, multiaddrs }: PeerInfo) =>
        this.#book.add(id.toString(), ownAddresses(multiaddrs)),
    }
  }

  #createProtector(): NetworkProtector | undefined {
    const { networkKey: key } = this.#components
    if (!key) return undefined
    const onUnread = ({ remoteAddr, direction }: { remoteAddr: Multiaddr; direction: string }) => {
      this.#metrics.connects.inc({ result: 'wrong_key' })
      this.#log.warn(
        { address: remoteAddr.toString(), direction },
        'connection without the network key, refused',
      )
    }
    return new NetworkProtector({ key, onUnread })
  }

  #onConnection(connection: Connection): void {
    const peerId = connection.remotePeer.toString()
    // The list may have changed between the gater's look at it and now.
    if (!this.#isExpected(peerId)) {
      connection.abort(new PeerUnreachableError('The peer is not on the allow-list.'))
      return
    }
    if (this.#members.has(peerId)) return this.#onSecondConnection(connection)
    if (connection.direction === 'outbound') {
      this.#exchange(peerId).catch((error: Error) => this.#hangUp(connection, error))
    } else {
      // Who dials speaks first.
      const silent = new PeerUnreachableError('The peer did not say who it is in time.')
      setTimeout(() => this.#hangUp(connection, silent), NODE_INFO_TIMEOUT_MS).unref()
    }
  }

  /**
   * Two nodes may dial each other at once, and a relayed connection may be followed by a direct
   * one. The other side may have lost the first one already, so it is told again who dials.
   */
  #onSecondConnection(connection: Connection): void {
    if (connection.direction !== 'outbound' || isRelayed(connection)) return
    const peerId = connection.remotePeer.toString()
    this.#exchange(peerId)
      .then(() => this.#closeRelayed(connection.remotePeer))
      .catch((error: Error) => this.#log.debug({ err: error, peerId }, 'announcement failed'))
  }

  /** What is under way on it fails and is tried again on the direct connection. */
  async #closeRelayed(peerId: PeerId): Promise<void> {
    const relayed = this.#host?.getConnections(peerId).filter(isRelayed) ?? []
    if (relayed.length === 0) return
    this.#log.info({ peerId: peerId.toString() }, 'direct connection takes over from the relay')
    await Promise.all(relayed.map((connection) => connection.close()))
  }

  #hangUp(connection: Connection, reason: Error): void {
    const peerId = connection.remotePeer.toString()
    if (this.#members.has(peerId) || connection.status !== 'open') return
    this.#log.warn({ err: reason, peerId }, 'peer did not say who it is, hung up on')
    this.#metrics.connects.inc({ result: 'silent' })
    connection.abort(reason)
  }

  /** Only for a peer that is not here at all. */
  async #dialRelayed(peerId: string, signal: AbortSignal): Promise<void> {
    const { relays } = this.#nat
    if (!relays || !this.#host || this.#connectionTo(peerId)) return
    const host = this.#host
    await this.reserveRelay()
    const addresses = await relays.addressesTo(host, peerId)
    if (addresses.length > 0) await host.dial(addresses, { signal })
  }

  #onGone(peerId: string): void {
    const member = this.#members.get(peerId)
    if (!this.#host || !member) return
    this.#members.delete(peerId)
    const reason = this.#isExpected(peerId) ? 'closed' : 'revoked'
    this.#metrics.disconnects.inc({ reason })
    this.#metrics.connectionDuration.observe((Date.now() - member.connectedSinceMs) / 1000)
    this.#log.info({ peerId, name: member.info.name, reason }, 'peer left')
    this.#events.emit('leave', toPeer(member))
  }

  #onAllowListChange(): void {
    for (const connection of this.#host?.getConnections() ?? []) {
      if (this.#isExpected(connection.remotePeer.toString())) continue
      connection.abort(new PeerUnreachableError('The peer was taken off the allow-list.'))
    }
    // Somebody connected may know where a newly listed peer is.
    this.#announcements.soon(ANNOUNCE_DELAY_MS)
  }

  async #exchange(peerId: string): Promise<void> {
    const timeoutMs = NODE_INFO_TIMEOUT_MS
    const own = this.#announcementFor(peerId)
    const askedAtMs = performance.now()
    const theirs = await this.request(peerId, NODE_PROTOCOL, own, { timeoutMs })
    const saidAtMs = (askedAtMs + performance.now()) / 2
    this.#learn(peerId, decodeAnnouncement(theirs, peerId), saidAtMs)
  }

  #announcementFor(receiver: string): Uint8Array {
    const others = this.expectedPeers().filter((peerId) => peerId !== receiver)
    return encodeAnnouncement({
      node: this.#self,
      nowMs: Date.now(),
      addresses: this.announced(),
      peers: others
        .map((peerId) => ({ peerId, addresses: this.#book.addressesOf(peerId) }))
        .filter(({ addresses }) => addresses.length > 0),
    })
  }

  /** `saidAtMs` by the monotonic clock. */
  #learn(peerId: string, announcement: Announcement, saidAtMs: number): void {
    const connection = this.#connectionTo(peerId)
    if (!connection) return
    const { remoteAddr, direction } = connection
    // An address that was dialled is known to work from here; inbound ones end in a random port.
    const dialled = direction === 'outbound' ? [withoutPeerId(remoteAddr)] : []
    this.#book.add(peerId, [...dialled, ...announcement.addresses])
    for (const other of announcement.peers) {
      // Who is connected speaks for itself.
      if (!this.#connectionTo(other.peerId)) this.#book.add(other.peerId, other.addresses)
    }
    const { nowMs } = announcement
    const clockZeroMs = nowMs === undefined ? null : nowMs - saidAtMs
    const member = this.#members.get(peerId)
    if (member) Object.assign(member, { info: announcement.node, clockZeroMs })
    else this.#welcome(peerId, { info: announcement.node, clockZeroMs }, connection)
  }

  #welcome(
    peerId: string,
    said: Pick<Member, 'info' | 'clockZeroMs'>,
    connection: Connection,
  ): void {
    const { info } = said
    const member: Member = {
      ...said,
      connectedSinceMs: connection.timeline.open,
      firstPingMs: null,
      remoteAddress: connection.remoteAddr.toString(),
      direction: connection.direction,
      link: linkOf(connection),
    }
    this.#members.set(peerId, member)
    this.#dialler.reached(peerId)
    this.#metrics.connects.inc({ result: 'joined' })
    this.#log.info({ peerId, name: info.name, direction: member.direction }, 'peer joined')
    this.#ping(peerId, member)
    this.#announcements.soon(JOIN_ANNOUNCE_DELAY_MS)
    this.#events.emit('join', toPeer(member, connection))
  }

  /** The connection monitor's first ping comes late; this one fills the gap. */
  #ping(peerId: string, member: Member): void {
    this.#requireHost()
      .services.ping.ping(peerIdOf(peerId))
      .then((latencyMs) => (member.firstPingMs = latencyMs))
      .catch((error: Error) => this.#log.debug({ err: error, peerId }, 'first ping failed'))
  }

  #announce(): void {
    for (const peerId of this.#members.keys()) {
      this.#exchange(peerId).catch((error: Error) =>
        this.#log.debug({ err: error, peerId }, 'announcement failed'),
      )
    }
  }

  #isExpected(peerId: string): boolean {
    return peerId !== this.#self.peerId && this.#allowList.has(peerId)
  }

  /**
   * A direct one before a relayed one. Of two direct ones the newest: the older may be dead
   * without anybody knowing yet.
   */
  #connectionTo(peerId: string): Connection | undefined {
    if (!this.#host || !this.#isExpected(peerId)) return undefined
    const open = this.#host
      .getConnections(peerIdOf(peerId))
      .filter(({ status }) => status === 'open')
    return open.findLast((connection) => !isRelayed(connection)) ?? open.at(-1)
  }

  #countConnections(): { inbound: number; outbound: number } {
    const connections = this.#host?.getConnections() ?? []
    const inbound = connections.filter(({ direction }) => direction === 'inbound').length
    return { inbound, outbound: connections.length - inbound }
  }

  #requireHost(): Host {
    if (!this.#host) throw new PeerUnreachableError('The mesh is not started.')
    return this.#host
  }

  #assertNotStarted(): void {
    if (this.#host) throw new Error('Protocols and services are added before the mesh starts.')
  }
}

function toPeer(member: Member, connection?: Connection): Peer {
  return {
    ...member.info,
    latencyMs: connection?.rtt ?? member.firstPingMs,
    remoteAddress: connection?.remoteAddr.toString() ?? member.remoteAddress,
    direction: connection?.direction ?? member.direction,
    link: connection ? linkOf(connection) : member.link,
    connectedSinceMs: member.connectedSinceMs,
    clockAheadMs: clockAheadMs(member),
  }
}

function clockAheadMs({ clockZeroMs }: Member): number | null {
  if (clockZeroMs === null) return null
  return Math.round(clockZeroMs + performance.now() - Date.now())
}

function linkOf(connection: Connection): Peer['link'] {
  return isRelayed(connection) ? 'relayed' : 'direct'
}
