import { circuitRelayTransport, RELAY_V2_HOP_CODEC } from '@libp2p/circuit-relay-v2'
import type { Connection, PeerId, Transport } from '@libp2p/interface'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'

import { withoutPeerId } from './addresses.ts'
import {
  RELAY_RESERVATIONS_HELD_MAX,
  RELAY_STREAMS_PER_PEER_MAX,
  RELAYS_DIALLED_MAX,
} from './constants.ts'
import type { Host } from './host.ts'
import type { TransportFactory } from './nat.ts'

/** What libp2p's relay transport can do beyond what a transport must; it has no type of its own. */
interface RelayTransport extends Transport {
  reservationStore: {
    hasReservation(peerId: PeerId): boolean
    reservationCount(): number
    addRelay(peerId: PeerId, type: 'configured'): Promise<unknown>
  }
}

/**
 * The way to a peer behind a NAT, and to this node where it is behind one: over a member that both
 * are connected to. Who cannot be dialled must hold a reservation at a relay before anybody can
 * reach it there. A node takes one as soon as it fails to dial somebody: it cannot know which of
 * the two is behind the NAT, and one reservation costs a round trip every two hours.
 *
 * libp2p's own search for relays is not used: it walks the DHT for strangers, and here every relay
 * is a member that is connected anyway.
 */
export class RelayClient {
  #transport: RelayTransport | undefined

  readonly transport: TransportFactory = (components) => {
    const factory = circuitRelayTransport({
      maxInboundStopStreams: RELAY_STREAMS_PER_PEER_MAX,
      maxOutboundStopStreams: RELAY_STREAMS_PER_PEER_MAX,
    })
    return (this.#transport = factory(components) as RelayTransport)
  }

  /**
   * Sees to it that this node can be reached through a relay.
   * @throws what every relay refused with, when none accepted
   */
  async reserve(host: Host): Promise<void> {
    const store = this.#transport?.reservationStore
    if (!store) return
    const errors: unknown[] = []
    for (const { remotePeer } of await relaysOf(host)) {
      if (store.reservationCount() >= RELAY_RESERVATIONS_HELD_MAX) return
      if (store.hasReservation(remotePeer)) continue
      await store.addRelay(remotePeer, 'configured').catch((error: unknown) => errors.push(error))
    }
    if (store.reservationCount() === 0 && errors.length > 0) throw errors[0]
  }

  /** Addresses of a peer at every relay in reach; it answers where it holds a reservation. */
  async addressesTo(host: Host, peerId: string): Promise<Multiaddr[]> {
    const relays = await relaysOf(host)
    return relays
      .filter(({ remotePeer }) => remotePeer.toString() !== peerId)
      .slice(0, RELAYS_DIALLED_MAX)
      .map(({ remoteAddr, remotePeer }) =>
        multiaddr(
          `${withoutPeerId(remoteAddr)}/p2p/${remotePeer.toString()}/p2p-circuit/p2p/${peerId}`,
        ),
      )
  }
}

/** Direct connections to peers that relay, as far as these have said so. */
async function relaysOf(host: Host): Promise<Connection[]> {
  const found = new Map<string, Connection>()
  for (const connection of host.getConnections()) {
    if (connection.status !== 'open' || isRelayed(connection)) continue
    const peer = await host.peerStore.get(connection.remotePeer).catch(() => undefined)
    if (!peer?.protocols.includes(RELAY_V2_HOP_CODEC)) continue
    found.set(connection.remotePeer.toString(), connection)
  }
  return [...found.values()]
}

/** Whether a third node carries the connection. */
export function isRelayed(connection: Pick<Connection, 'remoteAddr'>): boolean {
  return connection.remoteAddr.getComponents().some(({ name }) => name === 'p2p-circuit')
}
