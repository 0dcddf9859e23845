import type { PeerId } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { LRUCache } from 'lru-cache'

/** Some thirty members are asked for by their ids many times a second; decoding one takes 5 us. */
const REMEMBERED_MAX = 256

const remembered = new LRUCache<string, PeerId>({ max: REMEMBERED_MAX })

/** The id as libp2p wants it. @throws when the text is no peer id */
export function peerIdOf(text: string): PeerId {
  let peerId = remembered.get(text)
  if (!peerId) remembered.set(text, (peerId = peerIdFromString(text)))
  return peerId
}
