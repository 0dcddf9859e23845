import { constants } from 'node:crypto'
import type { CommonConnectionOptions, SecureContextOptions, TLSSocket } from 'node:tls'

import { peerIdFromString } from '@libp2p/peer-id'
import { generateCertificate, verifyPeerCertificate } from '@libp2p/tls/utils'

import { PeerUnreachableError } from '../../shared/errors.ts'
import type { NodeKey } from '../mesh/node-key.ts'
import { BULK_PROTOCOL } from './constants.ts'

/** Both sides of a bulk connection use the same options. */
export type BulkTLSOptions = CommonConnectionOptions & SecureContextOptions

/**
 * TLS 1.3 with a certificate that carries the node's peer id, as libp2p makes it. Node's own check
 * of the certificate chain is off: the chain is one self-signed certificate. That makes
 * `proveIdentity` the only authentication there is.
 */
export async function createTLSOptions(nodeKey: NodeKey): Promise<BulkTLSOptions> {
  const { cert, key } = await generateCertificate(nodeKey.privateKey)
  return {
    cert,
    key,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ALPNProtocols: [BULK_PROTOCOL],
    requestCert: true,
    rejectUnauthorized: false,
    // A resumed session shows no certificate, so none is ever made resumable.
    secureOptions: constants.SSL_OP_NO_TICKET,
  }
}

/**
 * The peer id that the other side has proven: its certificate holds the id's public key and a
 * signature by it, and the handshake has shown that it has the certificate's key. Nothing may be
 * read from the socket or written to it before this resolves.
 * @throws PeerUnreachableError for anybody else than `expected`, or anything else than a node
 */
export async function proveIdentity(socket: TLSSocket, expected?: string): Promise<string> {
  const certificate = socket.getPeerX509Certificate()
  if (socket.isSessionReused() || !certificate) {
    throw new PeerUnreachableError('The other side showed no certificate.')
  }
  if (socket.alpnProtocol !== BULK_PROTOCOL) {
    throw new PeerUnreachableError('The other side speaks another protocol.')
  }
  let proven: string
  try {
    proven = (await verifyPeerCertificate(certificate.raw)).toString()
  } catch (error) {
    throw new PeerUnreachableError('The other side did not prove to be a node.', { cause: error })
  }
  if (expected !== undefined && proven !== peerIdFromString(expected).toString()) {
    throw new PeerUnreachableError('The other side is another node than the one asked for.')
  }
  return proven
}
