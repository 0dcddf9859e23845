import type { ConnectionGater } from '@libp2p/interface'

/**
 * Lets allow-listed peers in and nobody else. The decision falls right after the handshake has
 * proven who is there and before anything else is spoken. libp2p's own default admits everyone.
 * A relayed connection has a handshake of its own; beyond that, a relay serves members only, who
 * reach members only, and nobody is reached through a relay that is not one.
 */
export function createConnectionGater(components: {
  selfId: string
  isAllowed: (peerId: string) => boolean
  onDenied: (peerId: string, direction: 'inbound' | 'outbound') => void
}): ConnectionGater {
  const { selfId, isAllowed, onDenied } = components
  const deny = (peerId: string, direction: 'inbound' | 'outbound'): boolean => {
    if (isAllowed(peerId)) return false
    onDenied(peerId, direction)
    return true
  }
  return {
    denyDialPeer: (peerId) => !isAllowed(peerId.toString()),
    denyInboundEncryptedConnection: (peerId) => deny(peerId.toString(), 'inbound'),
    denyOutboundEncryptedConnection: (peerId) => deny(peerId.toString(), 'outbound'),
    denyInboundRelayReservation: (source) => deny(source.toString(), 'inbound'),
    denyOutboundRelayedConnection: (source, target) =>
      deny(source.toString(), 'inbound') || deny(target.toString(), 'outbound'),
    denyInboundRelayedConnection: (relay, source) =>
      deny(relay.toString(), 'inbound') || deny(source.toString(), 'inbound'),
    filterMultiaddrForPeer: (peerId) => {
      const id = peerId.toString()
      return id === selfId || isAllowed(id)
    },
  }
}
