import { createHash } from 'node:crypto'

import { LRUCache } from 'lru-cache'

import { NODE_SEEDS_MAX } from './constants.ts'

/** A node as placement sees it. */
export interface StorageNode {
  peerId: string
  /** Share relative to the others; 0 takes nothing. */
  weight: number
  zone: string
}

type Words = readonly [number, number]

interface Candidate {
  index: number
  score: number
}

/** Words of a node's seed, and of a key. */
const SEED_WORDS = 2

/** 2^32: a draw is a 32-bit number, shifted by half so that it is never 0 or 1. */
const DRAW_STEPS = 2 ** 32

const seeds = new LRUCache<string, Words>({ max: NODE_SEEDS_MAX })

/**
 * Where copies belong, for one set of nodes: weighted rendezvous hashing. Each node draws a number
 * in (0, 1) for the key and scores -weight / ln(draw); the chance of being first is exactly its
 * share of the weight, and a node that joins or leaves moves only the keys it wins or held. Every
 * node of the cluster must compute the same, so neither the draw nor the score may ever change.
 */
export class Placement {
  readonly #nodes: readonly StorageNode[]
  /** Two words, the weight and the zone's number of each node, in arrays that read fast. */
  readonly #seeds: Int32Array
  readonly #weights: Float64Array
  readonly #zones: Uint32Array
  readonly #zoneCount: number

  constructor(nodes: readonly StorageNode[]) {
    this.#nodes = nodes.filter((node) => node.weight > 0)
    this.#seeds = Int32Array.from(this.#nodes.flatMap(({ peerId }) => seedOf(peerId)))
    this.#weights = Float64Array.from(this.#nodes, ({ weight }) => weight)
    const numbers = new Map<string, number>()
    for (const { zone } of this.#nodes) {
      if (!numbers.has(zone)) numbers.set(zone, numbers.size)
    }
    this.#zones = Uint32Array.from(this.#nodes, ({ zone }) => numbers.get(zone)!)
    this.#zoneCount = numbers.size
  }

  /** Nodes that take copies. */
  get size(): number {
    return this.#nodes.length
  }

  /** Every node in order of preference for `key`. */
  rank(key: string): StorageNode[] {
    const [k0, k1] = wordsOf(key)
    return this.#nodes
      .map(({ weight }, index) => {
        const draw = drawOf(this.#seeds, index * SEED_WORDS, k0, k1)
        return { index, score: weight / -Math.log(draw) }
      })
      .sort((a, b) => this.#order(a, b))
      .map(({ index }) => this.#nodes[index]!)
  }

  /**
   * The holders of `key`: primary, secondary, tertiary. While there are zones without a copy, the
   * next copy goes to the best node of such a zone; then to the best of the rest.
   */
  place(key: string, copies: number): StorageNode[] {
    const zones = this.#bestOfZones(key, copies)
    const order = (a: Candidate, b: Candidate): number => this.#order(a, b)
    const firsts = zones.map(([first]) => first!).sort(order)
    const chosen = firsts.slice(0, copies)
    if (chosen.length < copies) {
      const rest = zones.flatMap((best) => best.slice(1)).sort(order)
      chosen.push(...rest.slice(0, copies - chosen.length))
    }
    return chosen.map(({ index }) => this.#nodes[index]!)
  }

  /** The best `count` nodes of each zone that has any, best first. */
  #bestOfZones(key: string, count: number): Candidate[][] {
    const [k0, k1] = wordsOf(key)
    const zones: Candidate[][] = Array.from({ length: this.#zoneCount }, () => [])
    const bars = new Float64Array(this.#zoneCount)
    const seeds = this.#seeds
    const weights = this.#weights
    const zoneOf = this.#zones
    for (let index = 0; index < weights.length; index += 1) {
      const weight = weights[index]!
      const zone = zoneOf[index]!
      const draw = drawOf(seeds, index * SEED_WORDS, k0, k1)
      // -ln(x) >= 1 - x: most nodes are out without a logarithm.
      if (weight < bars[zone]! * (1 - draw)) continue
      const best = zones[zone]!
      this.#insert(best, { index, score: weight / -Math.log(draw) })
      if (best.length > count) best.pop()
      if (best.length === count) bars[zone] = best[count - 1]!.score
    }
    return zones.filter((best) => best.length > 0)
  }

  #insert(best: Candidate[], candidate: Candidate): void {
    let at = best.length
    best.push(candidate)
    for (; at > 0 && this.#order(candidate, best[at - 1]!) < 0; at -= 1) best[at] = best[at - 1]!
    best[at] = candidate
  }

  #order(a: Candidate, b: Candidate): number {
    if (a.score !== b.score) return b.score - a.score
    return this.#nodes[a.index]!.peerId < this.#nodes[b.index]!.peerId ? -1 : 1
  }
}

/** Every node in order of preference for `key`. */
export function rank(nodes: readonly StorageNode[], key: string): StorageNode[] {
  return new Placement(nodes).rank(key)
}

/** The holders of `key` among `nodes`; see Placement for many keys over the same nodes. */
export function place(nodes: readonly StorageNode[], key: string, copies: number): StorageNode[] {
  return new Placement(nodes).place(key, copies)
}

/** How many of `copies` must acknowledge so that two quorums always share a holder. */
export function quorumOf(copies: number): number {
  return Math.floor(copies / 2) + 1
}

/**
 * Both words of the key, mixed with those of the node. They are digests already, so three rounds
 * make draws of different nodes as independent as they must be, in a few nanoseconds.
 */
function drawOf(seeds: Int32Array, at: number, k0: number, k1: number): number {
  let hash = Math.imul(k0 ^ seeds[at]!, 0x21f0aaad)
  hash = Math.imul(hash ^ (hash >>> 15) ^ k1 ^ seeds[at + 1]!, 0x735a2d97)
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b)
  return (((hash ^ (hash >>> 16)) >>> 0) + 0.5) / DRAW_STEPS
}

function seedOf(peerId: string): Words {
  let seed = seeds.get(peerId)
  if (!seed) seeds.set(peerId, (seed = wordsOf(peerId)))
  return seed
}

/** Keys are hashed, so that names and hashes alike are spread evenly. */
function wordsOf(text: string): Words {
  const digest = createHash('sha256').update(text).digest()
  return [digest.readInt32LE(0), digest.readInt32LE(4)]
}
