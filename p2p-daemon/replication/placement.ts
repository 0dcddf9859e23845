import { createHash } from 'node:crypto'

/** A node as placement sees it. */
export interface StorageNode {
  peerId: string
  /** Share relative to the others; 0 takes nothing. */
  weight: number
  zone: string
}

/** 2^53: a digest's top 53 bits become a number in (0, 1). */
const DRAW_STEPS = 2 ** 53

/**
 * One draw of a node for a key, uniform in (0, 1) and the same on every node that computes it.
 * sha-256, not BLAKE3: the key is a BLAKE3 digest already, and Node's one-shot hash of so short an
 * input is the faster of the two.
 */
function draw(peerId: string, key: string): number {
  const digest = createHash('sha256').update(peerId).update('\n').update(key).digest()
  return (Number(digest.readBigUInt64BE(0) >> 11n) + 0.5) / DRAW_STEPS
}

/**
 * Every node in order of preference for `key`: weighted rendezvous hashing. Each node scores
 * -weight / ln(draw); the chance of being first is exactly its share of the weight, and a node
 * that joins or leaves moves only the keys it wins or held.
 */
export function rank(nodes: readonly StorageNode[], key: string): StorageNode[] {
  return nodes
    .filter((node) => node.weight > 0)
    .map((node) => ({ node, score: -node.weight / Math.log(draw(node.peerId, key)) }))
    .sort((a, b) => b.score - a.score || (a.node.peerId < b.node.peerId ? -1 : 1))
    .map(({ node }) => node)
}

/**
 * The holders of `key`: primary, secondary, tertiary. While there are zones without a copy, the
 * next copy goes to the best node of such a zone; then the best of the rest.
 */
export function place(nodes: readonly StorageNode[], key: string, copies: number): StorageNode[] {
  const candidates = rank(nodes, key)
  const chosen: StorageNode[] = []
  const zones = new Set<string>()
  while (chosen.length < copies && candidates.length > 0) {
    const fresh = candidates.findIndex((node) => !zones.has(node.zone))
    const [node] = candidates.splice(Math.max(fresh, 0), 1)
    if (!node) break
    zones.add(node.zone)
    chosen.push(node)
  }
  return chosen
}

/** How many of `copies` must acknowledge so that two quorums always share a holder. */
export function quorumOf(copies: number): number {
  return Math.floor(copies / 2) + 1
}
