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

type Words = readonly [number, number, number, number]

interface Candidate {
  index: number
  score: number
}

/** Words of a node's seed, and of a key. */
const SEED_WORDS = 4

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
  /** Four words, the weight and the zone's number of each node, in arrays that read fast. */
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
    const words = wordsOf(key)
    return this.#nodes
      .map(({ weight }, index) => {
        const draw = drawOf(this.#seeds, index * SEED_WORDS, words)
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
    const words = wordsOf(key)
    const zones: Candidate[][] = Array.from({ length: this.#zoneCount }, () => [])
    const bars = new Float64Array(this.#zoneCount)
    const [seeds, weights, zoneOf] = [this.#seeds, this.#weights, this.#zones]
    for (let index = 0; index < weights.length; index += 1) {
      const weight = weights[index]!
      const zone = zoneOf[index]!
      const draw = drawOf(seeds, index * SEED_WORDS, words)
      // -ln(x) >= 1 - x: most nodes are out without a logarithm.
      if (weight < bars[zone]! * (1 - draw)) continue
      const best = zones[zone]!
      best.push({ index, score: weight / -Math.log(draw) })
      best.sort((a, b) => this.#order(a, b))
      if (best.length > count) best.pop()
      if (best.length === count) bars[zone] = best.at(-1)!.score
    }
    return zones.filter((best) => best.length > 0)
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

/** MurmurHash3 of the key's words, seeded by the node: a few nanoseconds, and even enough. */
function drawOf(seeds: Int32Array, at: number, words: Words): number {
  let hash = mixIn(seeds[at]!, words[0] ^ seeds[at + 1]!)
  hash = mixIn(hash, words[1] ^ seeds[at + 2]!)
  hash = mixIn(hash, words[2] ^ seeds[at + 3]!)
  hash = mixIn(hash, words[3])
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (((hash ^ (hash >>> 16)) >>> 0) + 0.5) / DRAW_STEPS
}

function mixIn(hash: number, word: number): number {
  const scrambled = Math.imul(word, 0xcc9e2d51)
  const mixed = hash ^ Math.imul((scrambled << 15) | (scrambled >>> 17), 0x1b873593)
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0
}

function seedOf(peerId: string): Words {
  let seed = seeds.get(peerId)
  if (!seed) seeds.set(peerId, (seed = wordsOf(peerId)))
  return seed
}

/** Keys are hashed, so that names and hashes alike are spread evenly. */
function wordsOf(text: string): Words {
  const digest = createHash('sha256').update(text).digest()
  const word = (index: number): number => digest.readInt32LE(index * 4)
  return [word(0), word(1), word(2), word(3)]
}
