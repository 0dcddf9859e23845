import { autoNAT } from '@libp2p/autonat'
import { circuitRelayServer } from '@libp2p/circuit-relay-v2'
import { dcutr } from '@libp2p/dcutr'
import { uPnPNAT } from '@libp2p/upnp-nat'
import type { Libp2pOptions } from 'libp2p'

import {
  HOLE_PUNCH_ATTEMPTS_MAX,
  HOLE_PUNCH_TIMEOUT_MS,
  RELAY_BYTES_MAX,
  RELAY_DURATION_MAX_MS,
  RELAY_RESERVATIONS_SERVED_MAX,
  RELAY_STREAMS_PER_PEER_MAX,
} from './constants.ts'
import type { ServiceFactory } from './host.ts'
import { RelayClient } from './relay-client.ts'

/** Makes a libp2p transport from libp2p's own components, as `tcp()` returns. */
export type TransportFactory = NonNullable<Libp2pOptions['transports']>[number]

export interface NATInit {
  /** Asks peers whether an address of this node can be dialled from where they are. */
  autonat: boolean
  /** Asks the router for a mapping of the libp2p port. */
  upnp: boolean
  /** `client`: reaches others and is reached through relays. `server`: relays for members. */
  relay: 'off' | 'client' | 'server' | 'both'
  /** Tries to replace a relayed connection by a direct one. */
  holePunch: boolean
}

/** What `Libp2pMesh` does without being told: nothing but dial. */
export const NAT_OFF: NATInit = { autonat: false, upnp: false, relay: 'off', holePunch: false }

export interface NAT {
  transports: TransportFactory[]
  services: Map<string, ServiceFactory>
  /** Undefined where this node uses no relays. */
  relays: RelayClient | undefined
}

/** The parts of libp2p that lead through a NAT, as configured. */
export function createNAT(init: NATInit): NAT {
  const services = new Map<string, ServiceFactory>()
  const isClient = init.relay === 'client' || init.relay === 'both'
  const relays = isClient ? new RelayClient() : undefined
  if (init.autonat) services.set('autonat', autoNAT())
  // Without AutoNAT nobody confirms the address, and an unconfirmed one is told to no peer.
  if (init.upnp) {
    const options = { portMappingDescription: 'bzzz', autoConfirmAddress: !init.autonat }
    services.set('upnp', uPnPNAT(options))
  }
  if (init.relay === 'server' || init.relay === 'both') services.set('relay', relayServer())
  // It works on relayed connections, so there is nothing to do for a node that has none.
  if (init.holePunch && isClient) {
    services.set(
      'holePunch',
      dcutr({ timeout: HOLE_PUNCH_TIMEOUT_MS, retries: HOLE_PUNCH_ATTEMPTS_MAX }),
    )
  }
  return { services, relays, transports: relays ? [relays.transport] : [] }
}

function relayServer(): ServiceFactory {
  return circuitRelayServer({
    maxInboundHopStreams: RELAY_STREAMS_PER_PEER_MAX,
    maxOutboundHopStreams: RELAY_STREAMS_PER_PEER_MAX,
    maxOutboundStopStreams: RELAY_STREAMS_PER_PEER_MAX,
    reservations: {
      maxReservations: RELAY_RESERVATIONS_SERVED_MAX,
      defaultDataLimit: RELAY_BYTES_MAX,
      defaultDurationLimit: RELAY_DURATION_MAX_MS,
    },
  })
}
