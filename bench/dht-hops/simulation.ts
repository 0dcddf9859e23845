import { createHash } from 'node:crypto'

import type { PeerId } from '@libp2p/interface'
import { peerIdFromMultihash } from '@libp2p/peer-id'
import { create as createDigest } from 'multiformats/hashes/digest'

/** kad-dht's own defaults: nodes in a bucket and in an answer, and questions at once. */
const K = 20
const ALPHA = 10

/** Peers that a node has met; its routing table keeps those that its buckets have room for. */
const MET = 400

/** Nodes next to it in the key space are met because every node looks for them. */
const NEIGHBOURS = 40

/** Identity multihash, and the header of an Ed25519 public key in protobuf. */
const IDENTITY = 0
const KEY_HEADER = Uint8Array.of(0x08, 0x01, 0x12, 0x20)

interface Node {
  peerId: PeerId
  kadId: Uint8Array
  /** Place in the order of keys. */
  rank: number
  table?: Promise<KBucket>
}

interface KBucket {
  addSelfPeer(peerId: PeerId): Promise<void>
  /** What `add` does once the id is hashed. */
  _add(peer: { peerId: PeerId; kadId: Uint8Array; lastPing: number }): Promise<void>
  closest(id: Uint8Array, options: { count: number }): Iterable<PeerId>
}

interface PeerDistanceList {
  canAddKadId(kadId: Uint8Array): boolean
  addWithKadId(peer: { id: PeerId; multiaddrs: never[] }, kadId: Uint8Array): void
  peers: { peer: { id: PeerId } }[]
}

/** The routing table and the selection of kad-dht, which its package does not export. */
async function loadSelection() {
  const root = import.meta.resolve('@libp2p/kad-dht')
  const [tables, lists] = (await Promise.all([
    import(new URL('./routing-table/k-bucket.js', root).href),
    import(new URL('./peer-distance-list.js', root).href),
  ])) as [
    { KBucket: new (components: object, init: object) => KBucket },
    { PeerDistanceList: new (key: Uint8Array, capacity: number) => PeerDistanceList },
  ]
  return { ...tables, ...lists }
}

export interface Lookups {
  nodes: number
  /** Steps from the node that looked to the node nearest to the key, on average. */
  hops: number
  /** Nodes asked in one lookup, on average. */
  asked: number
  /** Share of the lookups that found the nearest node there is. */
  found: number
}

/** Pseudo-random, so that a run can be repeated. */
function bytesOf(seed: string): Buffer {
  return createHash('sha256').update(seed).digest()
}

/** Lookups of random keys from random nodes in a network without sockets. */
export async function simulate(count: number, lookups: number): Promise<Lookups> {
  const network = new Network(createNodes(count), await loadSelection())
  let [hops, asked, found] = [0, 0, 0]
  for (let lookup = 0; lookup < lookups; lookup += 1) {
    const start = bytesOf(`start ${lookup}`).readUInt32BE() % count
    const result = await network.lookup(start, bytesOf(`key ${count} ${lookup}`))
    if (result.isNearest) found += 1
    hops += result.hops
    asked += result.asked
  }
  return { nodes: count, hops: hops / lookups, asked: asked / lookups, found: found / lookups }
}

class Network {
  readonly #nodes: readonly Node[]
  readonly #byId: ReadonlyMap<string, Node>
  readonly #selection: Awaited<ReturnType<typeof loadSelection>>

  constructor(nodes: readonly Node[], selection: Awaited<ReturnType<typeof loadSelection>>) {
    this.#nodes = nodes
    this.#byId = new Map(nodes.map((node) => [node.peerId.toString(), node]))
    this.#selection = selection
  }

  /** Questions run in rounds, the nearest first, and end where no answer can come nearer. */
  async lookup(rank: number, key: Uint8Array) {
    const start = this.#nodes[rank]!
    const closest = new this.#selection.PeerDistanceList(key, K)
    const depths = new Map([[start, 0]])
    let waiting = await this.#closestKnown(start, key)
    for (const node of waiting) depths.set(node, 1)
    let asked = 0
    while (waiting.length > 0) {
      waiting.sort((a, b) => compare(a.kadId, b.kadId, key))
      for (const node of waiting.splice(0, ALPHA)) {
        if (!closest.canAddKadId(node.kadId)) continue
        asked += 1
        closest.addWithKadId({ id: node.peerId, multiaddrs: [] }, node.kadId)
        const depth = depths.get(node)! + 1
        const nearer = (await this.#closestKnown(node, key)).filter((each) => !depths.has(each))
        for (const each of nearer) depths.set(each, depth)
        waiting.push(...nearer)
      }
      waiting = waiting.filter(({ kadId }) => closest.canAddKadId(kadId))
    }
    const reached = this.#byId.get(closest.peers[0]?.peer.id.toString() ?? '')
    const others = this.#nodes.filter((node) => node !== start)
    const [nearest] = others.toSorted((a, b) => compare(a.kadId, b.kadId, key))
    return { isNearest: reached === nearest, hops: reached ? depths.get(reached)! : 0, asked }
  }

  async #closestKnown(node: Node, key: Uint8Array): Promise<Node[]> {
    const table = await (node.table ??= this.#fill(node))
    return [...table.closest(key, { count: K })]
      .map((peerId) => this.#byId.get(peerId.toString())!)
      .filter((peer) => peer !== node)
  }

  async #fill(node: Node): Promise<KBucket> {
    const { peerId } = node
    const nobody = async function* () {}
    const init = { ping: nobody, verify: async () => true }
    const table = new this.#selection.KBucket({ peerId }, init)
    await table.addSelfPeer(peerId)
    for (const { peerId: id, kadId } of this.#met(node)) {
      await table._add({ peerId: id, kadId, lastPing: Date.now() })
    }
    return table
  }

  /** Neighbours in the key space, then others by chance. */
  #met(node: Node): Set<Node> {
    const count = this.#nodes.length
    const peers = new Set<Node>()
    for (let step = 1; step <= NEIGHBOURS / 2; step += 1) {
      for (const rank of [node.rank - step, node.rank + step]) {
        const neighbour = this.#nodes[rank]
        if (neighbour) peers.add(neighbour)
      }
    }
    for (let n = 0; n < Math.min(MET, 2 * count); n += 8) {
      const chance = bytesOf(`${node.rank} meets ${n}`)
      for (let at = 0; at < 32; at += 4) peers.add(this.#nodes[chance.readUInt32BE(at) % count]!)
    }
    peers.delete(node)
    return peers
  }
}

function createNodes(count: number): Node[] {
  const nodes = Array.from({ length: count }, (_, index): Node => {
    const key = Buffer.concat([KEY_HEADER, bytesOf(`node ${index}`)])
    const peerId = peerIdFromMultihash(createDigest(IDENTITY, key) as never)
    const kadId = createHash('sha256').update(peerId.toMultihash().bytes).digest()
    return { peerId, kadId, rank: 0 }
  })
  nodes.sort((a, b) => Buffer.compare(a.kadId, b.kadId))
  for (const [rank, node] of nodes.entries()) node.rank = rank
  return nodes
}

/** Which of two ids is nearer to the key by XOR. */
function compare(a: Uint8Array, b: Uint8Array, key: Uint8Array): number {
  for (let at = 0; at < key.length; at += 1) {
    const [left, right] = [a[at]! ^ key[at]!, b[at]! ^ key[at]!]
    if (left !== right) return left - right
  }
  return 0
}
