import type { Startable } from '../../shared/lifecycle.ts'

/** What a node tells its peers about itself when they connect, and again when it changes. */
export interface NodeInfo {
  peerId: string
  /** Human name, unique by convention: walnut, ironwood, acacia. */
  name: string
  version: string
  roles: readonly string[]
  /** False for a node that keeps no replicas. */
  storage: boolean
  /** Share of the replicas it takes, relative to the others. */
  weight: number
  /** Failure domain; replicas are spread over zones when there are several. */
  zone: string
  /** Port of the bulk transfer listener; null where there is none. */
  bulkPort: number | null
}

export interface Peer extends NodeInfo {
  /** Round trip of the last ping, null until the first came back. */
  latencyMs: number | null
  /** Address of the open connection, as a multiaddr. */
  remoteAddress: string
  direction: 'inbound' | 'outbound'
  /** `relayed`: another member carries the connection; a bulk port is out of reach then. */
  link: 'direct' | 'relayed'
  connectedSinceMs: number
  /** How far its wall clock is ahead of this node's; null until it has said. */
  clockAheadMs: number | null
}

export interface RequestOptions {
  signal?: AbortSignal
  timeoutMs?: number
}

/** Answers one request of a peer. Whatever it throws reaches the caller as RemoteError. */
export type RequestHandler = (request: {
  peerId: string
  payload: Uint8Array
  signal: AbortSignal
}) => Promise<Uint8Array>

/**
 * The node's place in the cluster: who is connected and how to ask them something. Identity is
 * proven by the transport; only allow-listed peers ever get this far.
 */
export interface Mesh extends Startable {
  readonly self: NodeInfo
  /** Peers with an open connection whose NodeInfo is known. */
  peers(): readonly Peer[]
  peer(peerId: string): Peer | undefined
  /** Peer ids on the allow-list without this node: who could be here. */
  expectedPeers(): readonly string[]
  /**
   * One request, one answer, over a stream of its own.
   * @throws PeerUnreachableError, RemoteError, ProtocolViolationError
   */
  request(
    peerId: string,
    protocol: string,
    payload: Uint8Array,
    options?: RequestOptions,
  ): Promise<Uint8Array>
  /** Must be called before `start`. */
  handle(protocol: string, handler: RequestHandler): void
  on(event: 'join' | 'leave', listener: (peer: Peer) => void): void
}
