import { z } from 'zod'

import { ProtocolViolationError } from '../../shared/errors.ts'
import {
  ADDRESS_CHARS_MAX,
  ADDRESSES_PER_PEER_MAX,
  ANNOUNCED_PEERS_MAX,
  ANNOUNCEMENT_BYTES_MAX,
} from './constants.ts'
import type { NodeInfo } from './mesh.ts'

/**
 * What two nodes tell each other over NODE_PROTOCOL, as request and as answer alike: who they
 * are, where they can be dialled, and where they last saw the others. A node that knows one
 * member so gets to know them all.
 */
export interface Announcement {
  node: NodeInfo
  addresses: readonly string[]
  peers: readonly { peerId: string; addresses: readonly string[] }[]
  /** What the sender's wall clock showed. */
  nowMs?: number | undefined
}

const label = z.string().max(63)
const peerId = z.string().max(128)
const addresses = z.array(z.string().max(ADDRESS_CHARS_MAX)).max(ADDRESSES_PER_PEER_MAX)

/** Unknown fields are dropped, so that a newer node can say more than an older one understands. */
const schema = z.object({
  node: z.object({
    peerId,
    name: label.min(1),
    version: label,
    roles: z.array(label).max(32),
    storage: z.boolean(),
    weight: z.number().min(0).max(1_000_000),
    zone: label,
    bulkPort: z.int().min(1).max(65_535).nullable(),
  }),
  addresses,
  peers: z.array(z.object({ peerId, addresses })).max(ANNOUNCED_PEERS_MAX),
  nowMs: z.int().min(0).optional(),
})

export function encodeAnnouncement(announcement: Announcement): Uint8Array {
  return Buffer.from(
    JSON.stringify({
      node: announcement.node,
      addresses: announcement.addresses.slice(0, ADDRESSES_PER_PEER_MAX),
      peers: announcement.peers.slice(0, ANNOUNCED_PEERS_MAX),
      nowMs: announcement.nowMs,
    }),
  )
}

/** @throws ProtocolViolationError when it cannot be read or speaks for somebody else */
export function decodeAnnouncement(bytes: Uint8Array, sender: string): Announcement {
  if (bytes.length > ANNOUNCEMENT_BYTES_MAX) {
    throw new ProtocolViolationError('The announcement is too long.')
  }
  let announcement: Announcement
  try {
    announcement = schema.parse(JSON.parse(Buffer.from(bytes).toString()))
  } catch (error) {
    throw new ProtocolViolationError('The announcement cannot be read.', { cause: error })
  }
  if (announcement.node.peerId !== sender) {
    throw new ProtocolViolationError('The announcement speaks for another peer.')
  }
  return announcement
}
