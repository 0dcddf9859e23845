import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import type { ConnectionGater, Libp2p, MessageStream, PeerInfo } from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import { ping, type Ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { createLibp2p, type Libp2pOptions } from 'libp2p'

import { InvalidConfigError, PortInUseError } from '../../shared/errors.ts'
import {
  CONNECTIONS_MAX,
  DIAL_TIMEOUT_MS,
  INBOUND_CONNECTIONS_PER_SECOND_MAX,
  INBOUND_PENDING_MAX,
  MDNS_SERVICE_TAG,
  PING_INTERVAL_MS,
  PING_TIMEOUT_MS,
  PINGS_MAX,
} from './constants.ts'
import type { NAT } from './nat.ts'
import type { NetworkProtector } from './network-key.ts'
import type { NodeKey } from './node-key.ts'

export type Host = Libp2p<{ ping: Ping } & Record<string, unknown>>

/** Makes a libp2p service from libp2p's own components, as `kadDHT(...)` returns. */
export type ServiceFactory = NonNullable<Libp2pOptions['services']>[string]

/** Makes an encrypter from libp2p's own components, as `tls()` returns. */
export type EncrypterFactory = ReturnType<typeof tls>

/** A libp2p node with TCP, TLS 1.3 and yamux, built but not started. */
export async function createHost(init: {
  nodeKey: NodeKey
  listen: readonly string[]
  /** Addresses to tell others instead of those listened on; empty: the latter. */
  announce: readonly string[]
  connectionGater: ConnectionGater
  /** Where a network key is, or may come to be. */
  protector?: NetworkProtector | undefined
  /** Spoken in place of TLS by who is no member yet. */
  door?: EncrypterFactory | undefined
  /** Where a search of the local network is wanted: who was found, each time it answers. */
  mdns?: { intervalMs: number; onFound: (peer: PeerInfo) => void } | undefined
  services: ReadonlyMap<string, ServiceFactory>
  nat: Pick<NAT, 'transports' | 'services'>
}): Promise<Host> {
  const { protector } = init
  const encrypters = [tls(), ...(init.door ? [init.door] : [])]
  const host = await createLibp2p({
    start: false,
    privateKey: init.nodeKey.privateKey,
    addresses: { listen: [...init.listen], announce: [...init.announce] },
    transports: [tcp(), ...init.nat.transports],
    connectionEncrypters: protector
      ? encrypters.map((factory) => noticing(factory, protector))
      : encrypters,
    ...(protector && { connectionProtector: () => protector }),
    peerDiscovery: init.mdns ? [localSearch(init.mdns)] : [],
    streamMuxers: [yamux()],
    connectionGater: init.connectionGater,
    connectionManager: {
      maxConnections: CONNECTIONS_MAX,
      inboundConnectionThreshold: INBOUND_CONNECTIONS_PER_SECOND_MAX,
      maxIncomingPendingConnections: INBOUND_PENDING_MAX,
      dialTimeout: DIAL_TIMEOUT_MS,
      // The dialler of the mesh does this, with jitter and for longer.
      reconnectRetries: 0,
    },
    connectionMonitor: {
      pingInterval: PING_INTERVAL_MS,
      pingTimeout: { minTimeout: PING_TIMEOUT_MS },
    },
    services: {
      ...Object.fromEntries(init.nat.services),
      ...Object.fromEntries(init.services),
      identify: identify(),
      ping: ping({ maxInboundStreams: PINGS_MAX, maxOutboundStreams: PINGS_MAX }),
    },
  })
  return host as unknown as Host
}

/**
 * Not libp2p's own event of a discovery: that comes once for each peer, and who was found before
 * it was let in would never be found again.
 */
function localSearch({
  intervalMs,
  onFound,
}: {
  intervalMs: number
  onFound: (peer: PeerInfo) => void
}): ReturnType<typeof mdns> {
  return (components) => {
    const search = mdns({ serviceTag: MDNS_SERVICE_TAG, interval: intervalMs })(components)
    search.addEventListener('peer', ({ detail }) => onFound(detail))
    return search
  }
}

/** An encrypter is only ever asked once both sides have understood each other. */
function noticing(factory: EncrypterFactory, protector: NetworkProtector): EncrypterFactory {
  return (components) => {
    const encrypter = factory(components)
    const understood = (connection: MessageStream): MessageStream => {
      protector.understood(connection)
      return connection
    }
    return {
      protocol: encrypter.protocol,
      secureInbound: (connection, options) =>
        encrypter.secureInbound(understood(connection), options),
      secureOutbound: (connection, options) =>
        encrypter.secureOutbound(understood(connection), options),
    }
  }
}

/** @throws PortInUseError, InvalidConfigError when an address cannot be listened on */
export async function startHost(host: Host): Promise<void> {
  try {
    await host.start()
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'UnsupportedListenAddressesError') throw error
    // libp2p lists the addresses and their errors in the message and nowhere else.
    const [, address, reason] = /(\/\S+): Error: listen (\w+)/.exec(error.message) ?? []
    if (reason === 'EADDRINUSE') {
      throw new PortInUseError(`Something else listens on ${address}.`, { cause: error })
    }
    const message = `It is not possible to listen on ${address ?? 'an address'}: ${reason}.`
    throw new InvalidConfigError(message, { cause: error })
  }
}
