import type { ConnectionGater } from '@libp2p/interface'

/**
 * Lets allow-listed peers in and nobody else. The decision falls right after the handshake has
 * proven who is there and before anything else is spoken. libp2p's own default admits everyone.
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
    filterMultiaddrForPeer: (peerId) => {
      const id = peerId.toString()
      return id === selfId || isAllowed(id)
    },
  }
}
